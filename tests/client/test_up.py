"""`lapdev up` against the real API: what it sends, says and waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from lapdev.client import up as room
from lapdev.client.rest import Json
from lapdev.client.up import change_lines, read_application_here, up
from lapdev.client.watching import Watcher
from lapdev.cloud.actions import EnvironmentLive
from lapdev.errors import ConfigError, LapdevError
from lapdev.model import EnvironmentKind, EnvironmentStatus, WorkloadStatus
from tests.support.served_api import ServedApi
from tests.support.shop_manifests import deployment

COMPOSE = """
services:
  web:
    image: example/web
    command: python3 -m http.server 8000
    ports: ["8000:8000"]
"""


@pytest.fixture
def compose_file(tmp_path: Path) -> str:
    folder = tmp_path / "votes"
    folder.mkdir()
    (folder / "compose.yaml").write_text(COMPOSE)
    return str(folder / "compose.yaml")


@pytest.fixture
def ready_at_once(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made is ready."""
    live = EnvironmentLive(EnvironmentStatus.READY, "", (WorkloadStatus("web", 1, 1),))
    monkeypatch.setattr(api.rig.link, "status", lambda _: live)


@pytest.mark.usefixtures("ready_at_once")
async def test_an_application_is_made_and_its_urls_are_shown(
    api: ServedApi, compose_file: str
) -> None:
    result = await api.run(up, compose_file)
    assert result.exit_code == 0, (result.output, result.exception)
    made = await api.rig.store.environment("votes")
    assert made.kind is EnvironmentKind.SHARED
    urls = [
        f"http://{p.label}.lapdev.localhost:8080" for p in await api.rig.store.previews("votes")
    ]
    assert urls
    assert all(url in result.stdout for url in urls)
    assert "votes is up" in result.stdout
    assert "created: " in result.stderr


@pytest.mark.usefixtures("ready_at_once")
async def test_the_same_again_changes_nothing_and_a_change_is_named(
    api: ServedApi, shop_file: str
) -> None:
    await api.run(up, shop_file, "--name", "shop")
    before = (await api.rig.store.environment("shop")).generation
    assert "nothing changed" in (await api.run(up, shop_file, "--name", "shop")).stderr
    assert (await api.rig.store.environment("shop")).generation == before
    objects = list(yaml.safe_load_all(Path(shop_file).read_text()))
    changed = [deployment("api", image="shop:2") if is_api(o) else o for o in objects]
    Path(shop_file).write_text(yaml.safe_dump_all(changed))
    result = await api.run(up, shop_file, "--name", "shop")
    assert "changed: Deployment/api\n" in result.stderr
    assert "nothing changed" not in result.stderr


async def test_the_command_for_its_logs_names_one_of_several_workloads(
    api: ServedApi, compose_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names, command in (
        (["web"], "lapdev env logs votes -f"),
        (["db", "web"], "lapdev env logs votes db -f"),
    ):
        workloads = tuple(WorkloadStatus(name, 1, 1) for name in names)
        live = EnvironmentLive(EnvironmentStatus.READY, "", workloads)
        monkeypatch.setattr(api.rig.link, "status", lambda _, live=live: live)
        assert command in (await api.run(up, compose_file)).stdout


def is_api(item: Json) -> bool:
    return bool(item["kind"] == "Deployment" and item["metadata"]["name"] == "api")


async def test_json_has_what_was_done(api: ServedApi, shop_file: str) -> None:
    made = await api.json(up, shop_file, "--name", "shop", "--detach", "--kind", "personal")
    assert made["kind"] == "personal"
    assert sorted(made["changes"]["created"]) == [
        "Deployment/api",
        "Deployment/web",
        "Service/api",
        "Service/web",
    ]
    assert (made["ignored"], made["notes"]) == ([], [])


async def test_what_has_no_meaning_here_is_said(api: ServedApi, shop_file: str) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    more = yaml.safe_dump({**policy, "metadata": {"name": "deny"}})
    Path(shop_file).write_text(Path(shop_file).read_text() + "\n---\n" + more)
    result = await api.run(up, shop_file, "--name", "shop", "-d")
    assert "without meaning here: NetworkPolicy/deny\n" in result.stderr
    assert "shop is on its way" in result.stdout


@pytest.mark.parametrize(
    ("detail", "more", "said"),
    [
        ("limits are not kept", {"resources": {"limits": {"memory": "64Mi"}}}, True),
        ("limits are not kept", {"resources": {"requests": {"memory": "64Mi"}}}, False),
        ("limits are not kept", {}, False),
        ("without isolation no service has a name", {}, True),
        ("", {"resources": {"limits": {"memory": "64Mi"}}}, False),
    ],
)
async def test_what_the_cluster_cannot_do_is_said_to_whom_it_concerns(
    api: ServedApi, tmp_path: Path, detail: str, more: dict[str, Any], said: bool
) -> None:
    api.rig.link.details["local"] = detail
    made = deployment("web")
    made["spec"]["template"]["spec"]["containers"][0] |= more
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(made))
    result = await api.run(up, str(tmp_path / "web.yaml"), "--name", "shop", "-d")
    assert result.exit_code == 0, result.exception
    assert (f"note: cluster local: {detail}" in result.stderr) is said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kind: [", "bad.yaml"),
        ("kind: Widget\nmetadata: {name: w}", "Widget/w"),
        (
            "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, command: [sleep, '9'],"
            " envFrom: [{secretRef: {name: keys}}]}]}",
            "keys",
        ),
    ],
)
async def test_a_mistake_in_a_file_is_told_before_a_server_is_started(
    api: ServedApi, tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    result = await api.run(up, str(tmp_path / "bad.yaml"), LAPDEV_SERVER="")
    assert isinstance(result.exception, ConfigError)
    assert named in result.exception.detail
    assert not (tmp_path / "lapdev").exists()


async def test_without_files_it_says_what_it_looks_for(
    api: ServedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = await api.run(up)
    assert isinstance(result.exception, ConfigError)
    assert "no compose.yaml" in result.exception.detail


def test_what_a_folder_has_is_taken_and_named_after_it(tmp_path: Path, shop_file: str) -> None:
    project = tmp_path / "My Shop"
    (project / "k8s").mkdir(parents=True)
    Path(shop_file).rename(project / "k8s" / "shop.yaml")
    assert read_application_here((), folder=project).name == "my-shop"
    (project / "compose.yaml").write_text(COMPOSE)
    found = read_application_here((), folder=project)
    assert found.files == {str(project / "compose.yaml")}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["nothing changed"]),
        ({"unchanged": ["Deployment/web"]}, ["nothing changed"]),
        (
            {"created": ["Service/a", "Deployment/a"], "removed": ["Deployment/b"]},
            ["created: Service/a, Deployment/a", "removed: Deployment/b"],
        ),
    ],
)
def test_only_differences_are_lines(changes: Json, lines: list[str]) -> None:
    all_of = {"created": [], "changed": [], "removed": [], "unchanged": []} | changes
    assert change_lines(all_of, []) == lines


# Watching


@pytest.fixture
def edits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens to the files, one step for each wait; then Ctrl-C."""
    steps: list[Any] = []

    def wait_changed(_watcher: Watcher, _pause: object) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(Watcher, "wait_changed", wait_changed)
    return steps


async def watch(api: ServedApi, file: str, *words: str) -> Result:
    return await api.run(up, file, "--name", "shop", "--watch", *words)


@pytest.mark.usefixtures("ready_at_once")
async def test_a_change_is_applied_and_a_mistake_is_not_the_end(
    api: ServedApi, shop_file: str, edits: list[Any]
) -> None:
    file = Path(shop_file)
    good = file.read_text()
    fewer = list(yaml.safe_load_all(good))[:2]
    edits += [
        lambda: file.write_text("kind: ["),
        lambda: file.write_text(yaml.safe_dump_all(fewer)),
        lambda: file.write_text(good),
    ]
    result = await watch(api, shop_file, "--json")
    assert result.exit_code == 1  # click's own runner; the command line makes 130 of it
    printed = [json.loads(line)["changes"] for line in result.stdout.splitlines()]
    assert [len(c["created"]) for c in printed] == [4, 0, 2]
    assert [len(c["removed"]) for c in printed] == [0, 2, 0]
    assert f"lapdev: {shop_file}:1: " in result.stderr
    assert "shop stays up: `lapdev down shop` ends it" in result.stderr


async def test_a_change_ends_waiting_for_what_it_changes(
    api: ServedApi, shop_file: str, edits: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        Path(shop_file).write_text(Path(shop_file).read_text() + "\n")

    monkeypatch.setattr(room.time, "sleep", sleep)
    result = await watch(api, shop_file)
    assert "the files changed meanwhile" in result.stderr
    assert edits == []


async def test_ctrl_c_while_it_waits_leaves_the_environment(
    api: ServedApi, shop_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(room.time, "sleep", sleep)
    result = await watch(api, shop_file)
    assert "shop goes on without you: `lapdev down shop` ends it" in result.stderr
    assert [e.name for e in await api.rig.store.environments()] == ["shop"]


async def test_one_that_is_not_ready_in_time_is_an_error_with_its_logs(
    api: ServedApi, shop_file: str
) -> None:
    result = await api.run(up, shop_file, "--name", "shop", "--timeout", "0")
    assert isinstance(result.exception, LapdevError)
    assert "shop is not ready after 0 s" in result.exception.detail
