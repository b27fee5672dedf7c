"""`lapdev env` against the real API."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lapdev.client.environments import group
from lapdev.cloud.actions import EnvironmentLive
from lapdev.errors import ClusterError, ConfigError, LapdevError
from lapdev.model import EnvironmentId, EnvironmentStatus, WorkloadStatus
from tests.support.served_api import ServedApi
from tests.support.shop_manifests import deployment, service


async def make(api: ServedApi, shop_file: str) -> None:
    await api.json(group, "create", "shop", "-f", shop_file)
    await api.json(group, "branch", "shop", "fix")


async def container(api: ServedApi, branch: str = "fix") -> dict[str, object]:
    """The only container of the branch's only own workload."""
    (manifest,) = (await api.rig.store.environment(branch)).manifests
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return dict(found)


async def test_an_environment_is_made_from_a_file(api: ServedApi, shop_file: str) -> None:
    made = await api.json(group, "create", "shop", "-f", shop_file, "--kind", "personal")
    assert (made["name"], made["kind"], made["cluster"]) == ("shop", "personal", "local")
    assert [p["service"] for p in made["previews"]] == ["web"]
    listed = await api.json(group, "list")
    assert [e["name"] for e in listed["environments"]] == ["shop"]


async def test_people_see_a_table_and_the_urls(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    table = (await api.run(group, "list")).stdout.splitlines()
    assert table[0].split() == ["NAME", "KIND", "BASE", "STATUS", "CLUSTER", "DETAIL"]
    assert table[1].split() == ["fix", "branch", "shop", "pending", "local"]
    assert table[2].split() == ["shop", "shared", "-", "pending", "local"]
    (preview,) = await api.rig.store.previews("fix")
    shown = (await api.run(group, "status", "fix")).stdout
    assert "fix: branch of shop, pending" in shown
    assert f"preview of web:8080: http://{preview.label}.lapdev.localhost:8080" in shown
    assert "branches: fix" in (await api.run(group, "status", "shop")).stdout


async def test_changes_add_up_in_the_branch(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    words = ("override", "fix", "api", "--env", "A=1", "--env", "B=x=y", "--image", "shop:2")
    made = await api.json(group, *words)
    assert made["changed"] == ["api"]
    await api.json(group, "override", "fix", "api", "--unset", "A", "--command", "run 'a b'")
    assert await container(api) == {
        "name": "api",
        "image": "shop:2",
        "env": [{"name": "B", "value": "x=y"}],
        "command": ["run", "a b"],
        "args": [],
    }


async def test_a_whole_manifest_replaces_a_workload(
    api: ServedApi, shop_file: str, tmp_path: Path
) -> None:
    await make(api, shop_file)
    path = tmp_path / "api.yaml"
    path.write_text(yaml.safe_dump(deployment("api", image="mine:7")))
    await api.json(group, "override", "fix", "api", "--file", str(path))
    assert (await container(api))["image"] == "mine:7"


async def test_reset_takes_the_branchs_own_version_back(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    await api.json(group, "override", "fix", "api", "--image", "shop:2")
    assert (await api.json(group, "reset", "fix", "api"))["changed"] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "give changes"),
        (("--image", "x", "--file", "y"), "give changes"),
        (("--env", "A"), "not NAME=VALUE"),
        (("--env", "=1"), "not NAME=VALUE"),
        (("--command", "'open"), "No closing quotation"),
    ],
)
async def test_wrong_usage_is_exit_code_2(
    api: ServedApi, words: tuple[str, ...], problem: str
) -> None:
    result = await api.run(group, "override", "fix", "api", *words)
    assert result.exit_code == 2
    assert problem in result.stderr


async def test_a_file_with_two_objects_is_no_version_of_a_workload(
    api: ServedApi, shop_file: str
) -> None:
    result = await api.run(group, "override", "fix", "api", "--file", shop_file)
    assert isinstance(result.exception, ConfigError)
    assert "holds 4 objects" in result.exception.detail


async def test_the_servers_reason_and_remedy_arrive(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    result = await api.run(group, "delete", "shop")
    assert isinstance(result.exception, LapdevError)
    assert result.exception.detail == "shop has branches: fix"
    assert result.exception.hint == "delete its branches first"


async def test_deleting_says_so_when_nothing_runs_any_more(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    result = await api.run(group, "delete", "fix")
    assert result.stdout == "fix is deleted\n"
    assert result.stderr == "fix: stopping its workloads\n"
    assert await api.json(group, "delete", "shop") == {"deleted": "shop"}
    assert await api.rig.store.environments() == []


# Waiting


def live(status: EnvironmentStatus, ready: int = 0, detail: str = "") -> EnvironmentLive:
    return EnvironmentLive(status, detail, (WorkloadStatus("web", 1, ready),))


async def test_wait_returns_once_it_is_ready(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    branch = await api.rig.store.environment("fix")
    api.rig.link.live[branch.id] = live(EnvironmentStatus.READY, ready=1)
    words = ("override", "fix", "api", "--image", "x", "--wait")
    assert (await api.json(group, *words))["status"] == "ready"


async def test_wait_gives_up_and_names_what_is_missing(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    branch = await api.rig.store.environment("fix")
    api.rig.link.live[branch.id] = live(EnvironmentStatus.STARTING)
    result = await api.run(group, "reset", "fix", "api", "--wait", "--timeout", "0")
    assert isinstance(result.exception, LapdevError)
    assert "web (0/1 ready)" in result.exception.detail
    assert result.stderr.endswith(" s  web: 0/1 ready\n")
    assert result.exception.hint == (
        "`lapdev env status fix` shows its workloads, `lapdev env logs fix web` what it prints"
    )


async def test_wait_ends_when_the_environment_failed(api: ServedApi, shop_file: str) -> None:
    await make(api, shop_file)
    branch = EnvironmentId((await api.rig.store.environment("fix")).id)
    api.rig.link.live[branch] = live(EnvironmentStatus.FAILED, detail="no such program: shopd")
    result = await api.run(group, "reset", "fix", "api", "--wait")
    assert isinstance(result.exception, ClusterError)
    assert "no such program: shopd" in result.exception.detail


async def test_a_manifest_that_cannot_run_is_refused_with_its_place(
    api: ServedApi, tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(service("web", {"port": 99999})))
    result = await api.run(group, "create", "shop", "-f", str(path))
    assert isinstance(result.exception, LapdevError)
    assert "Service/web: spec.ports[0].port" in result.exception.detail
