"""What a cluster should run is told to it, and what is said of it is true."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.errors import CallFailed, StreamRefused
from lapdev.model import EnvironmentId, EnvironmentStatus
from lapdev.wire.control import ReportCluster, ReportEnvironment, ServiceTarget, StartSession
from tests.support.running_cloud import RunningCloud, StandInManager, connected, running_cloud
from tests.support.shop_manifests import shop


async def held(manager: StandInManager, name: str, generation: int = 0) -> int:
    """Waits until the manager holds the environment at that generation or a later one."""
    async with asyncio.timeout(10):
        while name not in manager.held or manager.held[name].environment.generation < generation:
            await manager.heard.get()
    return manager.held[name].environment.generation


async def status_of_cluster(cloud: RunningCloud) -> str:
    clusters = await cloud.ok("GET", "/clusters")
    return str(clusters["clusters"][0]["status"])


async def test_a_manager_that_connects_is_told_every_environment(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        await cloud.ok(
            "POST", "/environments", {"name": "a", "kind": "shared", "manifests": shop()}
        )
        await cloud.ok("POST", "/environments/a/branches", {"name": "b"})
        manager = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            await held(manager, "a")
            await held(manager, "b")


async def test_a_change_of_a_branch_is_pushed_with_its_base(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        await cloud.ok(
            "POST", "/environments", {"name": "a", "kind": "shared", "manifests": shop()}
        )
        await cloud.ok("POST", "/environments/a/branches", {"name": "b"})
        manager = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            before = await held(manager, "a")
            patch = {"patch": {"api": {"image": "api:2"}}}
            await cloud.ok("PUT", "/environments/b/workloads/api", patch)
            after = await held(manager, "a", before + 1)
            assert after > before
            assert await held(manager, "b", after) == after
            (changed,) = manager.held["b"].environment.manifests
            assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == "api:2"


async def test_a_base_is_sent_once_for_each_change_of_a_branch(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        body = {"name": "a", "kind": "shared", "manifests": shop()}
        await cloud.ok("POST", "/environments", body)
        await cloud.ok("POST", "/environments/a/branches", {"name": "b"})
        manager = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            generation = await held(manager, "a")
            await held(manager, "b")
            for number in range(4):
                patch = {"patch": {"api": {"image": f"api:{number}"}}}
                await cloud.ok("PUT", "/environments/b/workloads/api", patch)
                generation = await held(manager, "a", generation + 1)
                await held(manager, "b", generation)
        seen = [(m.environment.name, m.environment.generation) for m in manager.applied]
        assert len(seen) == len(set(seen))


async def test_a_base_has_its_status_again_when_a_branch_is_gone(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        body = {"name": "a", "kind": "shared", "manifests": shop()}
        view = await cloud.ok("POST", "/environments", body)
        await cloud.ok("POST", "/environments/a/branches", {"name": "b"})
        manager = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager) as tunnel:
            await held(manager, "a")
            await cloud.ok("DELETE", "/environments/b")
            environment = EnvironmentId(view["id"])
            async with asyncio.timeout(10):
                while (await cloud.ok("GET", "/environments/a"))["status"] != "ready":
                    await manager.heard.get()
                    generation = manager.held["a"].environment.generation
                    ready = EnvironmentStatus.READY
                    await tunnel.call(ReportEnvironment(environment, generation, ready, "", ()))


async def test_a_cluster_is_not_ready_while_its_manager_is_away(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        assert await status_of_cluster(cloud) == "provisioning"
        for _attempt in range(2):
            manager = StandInManager()
            async with connected(cloud, "manager", cloud.cluster_token, manager):
                await manager.heard.get()
                assert await status_of_cluster(cloud) == "ready"
            async with asyncio.timeout(5):
                while await status_of_cluster(cloud) != "not_ready":  # noqa: ASYNC110 - as a CLI does
                    await asyncio.sleep(0.01)


async def test_a_report_becomes_the_environments_status_and_never_outlives_a_change(
    tmp_path: Path,
) -> None:
    async with running_cloud(tmp_path) as cloud:
        body = {"name": "a", "kind": "shared", "manifests": shop()}
        view = await cloud.ok("POST", "/environments", body)
        assert view["status"] == "pending"
        manager = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager) as tunnel:
            generation = await held(manager, "a")
            environment = EnvironmentId(view["id"])
            report = ReportEnvironment(environment, generation, EnvironmentStatus.READY, "", ())
            await tunnel.call(report)
            assert (await cloud.ok("GET", "/environments/a"))["status"] == "ready"
            await cloud.ok("POST", "/environments/a/branches", {"name": "b"})
            assert (await cloud.ok("GET", "/environments/a"))["status"] == "starting"


async def test_a_manager_makes_no_streams_and_no_foreign_calls(tmp_path: Path) -> None:
    async with (
        running_cloud(tmp_path) as cloud,
        connected(cloud, "manager", cloud.cluster_token, StandInManager()) as tunnel,
    ):
        stream = tunnel.open_stream(ServiceTarget("x", "y", 1), asyncio.Protocol())
        with pytest.raises(StreamRefused):
            await stream.wait_accepted()
        for message in (
            StartSession("d", "n", ""),  # type: ignore[arg-type]
            ReportEnvironment(EnvironmentId("nobody"), 1, EnvironmentStatus.READY, "", ()),
        ):
            with pytest.raises(CallFailed):
                await tunnel.call(message)
        assert await tunnel.call(ReportCluster("1", "local"))
