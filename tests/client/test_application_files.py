"""Applications from files: what they are is seen from their content."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev.client.application_files import LocalFiles, read_application
from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError

OBJECTS = "kind: ConfigMap\nmetadata: {name: a}\n"
COMPOSE = "services: {web: {command: serve, ports: ['80']}}\n"


def write(folder: Path, **files: str) -> Path:
    """`a_yaml` names the file `a.yaml`."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def names(paths: list[str]) -> list[str]:
    return [item["metadata"]["name"] for item in read_application(paths, {}).objects]


# Kubernetes


def test_kubernetes_yaml_is_taken_as_it_is_and_named_after_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "My Shop", one_yaml=OBJECTS, two_yaml=OBJECTS.replace("a}", "b}"))
    one, two = folder / "one.yaml", folder / "two.yaml"
    application = read_application([str(one), str(two)], {})
    assert application.name == "my-shop"
    assert [item["metadata"]["name"] for item in application.objects] == ["a", "b"]
    assert application.files == {str(one), str(two)}
    assert application.notes == ()


def test_a_folder_of_manifests_is_all_of_them_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        b_yaml=OBJECTS.replace("a}", "b}"),
        a_json='{"kind": "ConfigMap", "metadata": {"name": "a"}}',
        c_yml=OBJECTS.replace("a}", "c}"),
        notes_txt="not: [this",
    )
    assert names([str(tmp_path)]) == ["a", "b", "c"]
    assert len(read_application([str(tmp_path)], {}).files) == 3


def test_a_mistake_is_told_by_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, a_yaml=OBJECTS + "---\nkind: [\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:5: "):
        read_application([str(tmp_path)], {})


def test_a_kustomization_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_folder = write(tmp_path / "bin")
    program(bin_folder / "kustomize", f'test "$1" = build && cat <<EOF\n{OBJECTS}EOF')
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
    folder = write(tmp_path / "app", kustomization_yaml="resources: [a.yaml]", a_yaml=OBJECTS)
    assert names([str(folder)]) == ["a"]
    files = read_application([str(folder)], {}).files
    assert files == {str(folder / "kustomization.yaml"), str(folder / "a.yaml")}


def test_a_kustomization_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = write(tmp_path / "bin")
    program(bin_folder / "kubectl", "echo no such resource >&2; exit 1")
    monkeypatch.setenv("PATH", str(bin_folder))
    folder = write(tmp_path / "app", kustomization_yaml="resources: [a.yaml]")
    with pytest.raises(ConfigError, match="kubectl: no such resource"):
        read_application([str(folder)], {})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="neither kustomize nor kubectl") as caught:
        read_application([str(folder)], {})
    assert "| lapdev up -" in caught.value.hint


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# Compose


def test_a_compose_file_is_told_from_manifests_by_its_content(tmp_path: Path) -> None:
    folder = write(tmp_path / "Shop", any_yaml=f"name: other\n{COMPOSE}")
    application = read_application([str(folder / "any.yaml")], {})
    assert application.name == "other"
    manifests = parse_objects(application.objects)
    assert [host.name for host in manifests.ingresses] == ["web"]
    assert application.files == {str(folder / "any.yaml")}


@pytest.mark.parametrize(
    ("text", "is_compose"),
    [
        ("x-a: &a {kind: b}\n*a : services\nservices: {}", True),
        ("[services]: {}\nname: x\ninclude: []", True),
        ("kind: 5\nservices: {}", False),
        ("a: {services: {}}", False),
        ("- services", False),
        ("services", False),
        ("a: 1\n---\nservices: {}", False),
        ("[" * 100_000, False),
        ("a: \x07", False),
        ("", False),
    ],
)
def test_only_the_first_documents_own_keys_count(
    tmp_path: Path, text: str, is_compose: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_application([str(write(tmp_path, a_yaml=text) / "a.yaml")], {})
    manifests_say = ("has no kind", "is not a Kubernetes object", "holds no object", "not YAML")
    refused_as_manifest = any(words in caught.value.detail for words in manifests_say)
    assert refused_as_manifest != is_compose


@pytest.mark.parametrize("name", ["compose.yaml", "compose.yml", "docker-compose.yml"])
def test_a_folder_with_a_compose_file_is_that_project(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "Shop", zzz_yaml=OBJECTS)
    (folder / name).write_text(COMPOSE)
    stem, _, suffix = name.rpartition(".")
    (folder / f"{stem}.override.{suffix}").write_text("services: {web: {environment: {A: $A}}}")
    (folder / ".env").write_text("A=1\n")
    application = read_application([str(folder)], {})
    assert application.name == "shop"
    (workload,) = parse_objects(application.objects).workloads
    assert [(v.name, v.value) for v in workload.pod.containers[0].env] == [("A", "1")]
    expected = {name, f"{stem}.override.{suffix}", ".env"}
    assert application.files == {str(folder / file) for file in expected}


def test_a_file_given_by_name_has_no_override(tmp_path: Path) -> None:
    folder = write(tmp_path, compose_yaml=COMPOSE)
    (folder / "compose.override.yaml").write_text("services: {web: {wrong: 1}}")
    assert read_application([str(folder / "compose.yaml")], {}).objects


def test_everything_a_project_reads_is_named(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        compose_yaml="""
services:
  web: {build: ., env_file: [vars.env], secrets: [key]}
secrets: {key: {file: key.txt}}
""",
        Dockerfile="FROM x\nCMD serve\n",
        vars_env="A=1\n",
        key_txt="k",
    )
    application = read_application([str(folder / "compose.yaml")], {})
    assert {Path(file).name for file in application.files} == {
        "compose.yaml", "Dockerfile", "vars.env", "key.txt"
    }  # fmt: skip


def test_profiles_and_the_environment_are_the_callers(tmp_path: Path) -> None:
    text = "services: {a: {command: '$CMD'}, b: {command: y, profiles: [late]}}"
    path = str(write(tmp_path, compose_yaml=text) / "compose.yaml")
    one = parse_objects(read_application([path], {"CMD": "x"}).objects).workloads[0]
    assert [c.command for c in one.pod.containers] == [("x",)]
    two = parse_objects(read_application([path], {"CMD": "x"}, ["late"]).objects).workloads[0]
    assert len(two.pod.containers) == 2


def test_notes_are_handed_on(tmp_path: Path) -> None:
    text = "services: {a: {command: 'x $NO', user: root}}"
    notes = read_application([str(write(tmp_path, c_yaml=text))], {}).notes
    assert any("variable NO is not set" in note for note in notes)
    assert any("ignored: user" in note for note in notes)


# Both, and neither


READS_STANDARD_INPUT = """
from lapdev.client.application_files import read_application
found = read_application(["-"], {})
print(found.name, found.objects[0]["kind"], len(found.files))
"""


@pytest.mark.parametrize(("text", "kind"), [(OBJECTS, "ConfigMap"), (COMPOSE, "Deployment")])
def test_standard_input_is_either(tmp_path: Path, text: str, kind: str) -> None:
    folder = write(tmp_path / "Shop")
    done = subprocess.run(
        [sys.executable, "-c", READS_STANDARD_INPUT],
        input=text, text=True, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    assert done.stdout == f"shop {kind} 0\n"


def test_files_of_two_kinds_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, one_yaml=COMPOSE, two_yaml=OBJECTS)
    with pytest.raises(ConfigError, match=r"one\.yaml is a Compose file, and .*two\.yaml is not"):
        read_application([str(folder / "one.yaml"), str(folder / "two.yaml")], {})


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        ([], "no file is given"),
        (["{}/gone.yaml"], r"gone\.yaml: No such file"),
        (["{}"], "holds neither a Compose file nor manifests"),
        (["a\0b"], "embedded null"),
    ],
)
def test_nothing_to_read_is_told(tmp_path: Path, paths: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_application([path.replace("{}", str(tmp_path)) for path in paths], {})
    assert caught.value.hint


def test_paths_begin_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/you")
    files = LocalFiles()
    assert files.resolve("x") == str(tmp_path / "x")
    assert files.resolve("~/x") == "/home/you/x"
    assert not files.exists("a\0b")
    with pytest.raises(ConfigError):
        files.resolve("~nobody-of-this-name/x")
