"""YAML files: several documents, and every mistake with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.client.manifest_files import FILE_LIMIT_BYTES, read_manifests
from lapdev.errors import ConfigError


def write(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "app.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_every_document_is_an_object_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "---\nkind: A\n---\n---\n# nothing\n---\nkind: B\n...\n")
    assert read_manifests(path) == [{"kind": "A"}, {"kind": "B"}]


def test_anchors_and_json_are_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, 'kind: &k A\nspec: {kind: *k}\n---\n{"kind": "B"}\n')
    assert read_manifests(path) == [{"kind": "A", "spec": {"kind": "A"}}, {"kind": "B"}]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("kind: A\n---\nkind: [\n", r"app\.yaml:4: "),
        ("kind: A\n  b: c\n", r"app\.yaml:2: "),
        ("kind: A\n---\n- 1\n", r"app\.yaml:3: is not a Kubernetes object"),
        ("\n\nmetadata: {}\n", r"app\.yaml:3: the object has no kind"),
        ("kind: 7\n", "has no kind"),
        ("kind: A\nspec: {1: x}\n", r"app\.yaml:1 \(A\)\.spec: key 1 is not text"),
        ("kind: A\nspec:\n  - 2020-01-01\n", r"\.spec\[0\]: a date is not JSON"),
        ("kind: A\nspec: !!binary aGk=\n", "a bytes is not JSON"),
        ("kind: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("", "holds no object"),
        ("---\n---\n", "holds no object"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        ("kind: \x07\n", "not YAML"),
        ("a: &a [*a]\nkind: *b\n", r"app\.yaml:2: found undefined alias"),
    ],
)
def test_a_mistake_is_told_by_file_and_line(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_manifests(write(tmp_path, content))
    assert caught.value.hint


def test_services_without_their_heading_are_told_what_they_lack(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no kind") as caught:
        read_manifests(write(tmp_path, "web:\n  image: x\nredis:\n  image: redis\n"))
    assert "below `services:`" in caught.value.hint


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        read_manifests(write(tmp_path, "[" * 5_000))


def test_an_object_inside_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds more than"):
        read_manifests(write(tmp_path, "kind: A\nspec: &s\n  again: *s\n"))


def test_aliases_that_multiply_are_refused_in_time(tmp_path: Path) -> None:
    lines = ["kind: A", "a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    with pytest.raises(ConfigError, match="holds more than"):
        read_manifests(write(tmp_path, "\n".join(lines)))


def test_a_file_too_large_is_refused_unparsed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_manifests(write(tmp_path, b"#" * (FILE_LIMIT_BYTES + 1)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: No such file"):
        read_manifests(str(tmp_path / "gone.yaml"))
