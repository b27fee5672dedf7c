"""A workload's pods on this machine, as processes: order, ends, replacements, troubles."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Any

from lapdev.cluster.driver import LogQuery
from lapdev.cluster.subnets import Pool
from tests.cluster.contract import deployment, spec
from tests.cluster.contract_kinds import SAY, job, kind, lines_of, script, status_of
from tests.cluster.local_world import local_world

FAIL = "import sys; print('no such table', flush=True); sys.exit(3)"


def stateful(name: str, answer: str = "one", **more: Any) -> dict[str, Any]:
    return kind(deployment(name, answer=answer, **more), "StatefulSet", serviceName=name)


async def test_pods_with_ordinals_start_in_order_and_keep_their_names(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        seen: list[list[str]] = []
        driver.on_change(lambda _: seen.append([pod.name for pod in driver.pods("shop")]))
        await driver.apply(spec(stateful("db", replicas=2)))
        await world.wait_ready()
        assert seen[0] == ["db-0"]
        assert seen[-1] == ["db-0", "db-1"]
        before = {pod.name: pod.ip for pod in driver.pods("shop")}
        await driver.apply(spec(stateful("db", answer="two", replicas=2)))
        await world.wait_ready()
        after = {pod.name: pod.ip for pod in driver.pods("shop")}
        assert before.keys() == after.keys()
        assert not {*before.values()} & {*after.values()}


async def test_a_job_that_fails_says_how_it_ended_and_fails_for_good(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(job("migrate", FAIL, backoffLimit=0)))
        await world.wait(lambda: bool(status_of(world, "migrate").failed))
        status = status_of(world, "migrate")
        assert "backoffLimit is 0" in status.failed
        assert "no such table" in status.failed
        assert "no such table" in status.last_exit
        assert driver.pods("shop") == ()
        lines = [line.text for line in await lines_of(world, "migrate")]
        assert lines[0] == "no such table"


async def test_a_bare_pod_that_failed_stays_so_until_it_is_another(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        once = kind(script(deployment("once"), FAIL), "Pod", restartPolicy="Never")
        await driver.apply(spec(once))
        await world.wait(lambda: bool(status_of(world, "once").failed))
        assert "no such table" in status_of(world, "once").failed
        await driver.apply(spec(once))
        assert status_of(world, "once").failed
        better = kind(script(deployment("once"), SAY), "Pod", restartPolicy="Never")
        await driver.apply(spec(better))
        await world.wait(lambda: status_of(world, "once").succeeded == 1)


async def test_what_a_replaced_pod_printed_can_still_be_read(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(kind(deployment("web", answer="one"), "DaemonSet")))
        await world.wait_ready()
        (first,) = driver.pods("shop")
        await driver.apply(spec(kind(deployment("web", answer="two"), "DaemonSet")))
        await world.wait_ready()
        (second,) = driver.pods("shop")
        pods: list[str] = []
        async for line in driver.logs("shop", LogQuery("web", follow=True)):
            pods += [line.pod] if line.text == "serving" else []
            if len(pods) == 2:
                break
        assert pods == [first.name, second.name]


async def test_a_container_changes_in_place(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        web = deployment("web", answer="one")
        web["metadata"]["annotations"] = {"lapdev.dev/update": "in-place"}
        await driver.apply(spec(web))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        changed = deployment("web", answer="two")
        changed["metadata"]["annotations"] = {"lapdev.dev/update": "in-place"}
        await driver.apply(spec(changed))
        await world.wait(
            lambda: world.ready() and driver.pods("shop")[0].container_pids != before.container_pids
        )
        (after,) = driver.pods("shop")
        assert (after.name, after.ip) == (before.name, before.ip)


async def test_a_pod_without_an_address_says_so_and_starts_when_there_is_one(
    tmp_path: Path,
) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec())
        tiny = Pool(ipaddress.IPv4Network("127.64.0.0/30"), skip=2)
        driver._namespaces["shop"].subnet.pods = tiny
        await driver.apply(spec(deployment("api")))
        await world.wait_ready()
        await driver.apply(spec(deployment("api"), deployment("web")))
        await world.wait(lambda: "all 1 addresses" in status_of(world, "web").detail)
        assert "delete" in status_of(world, "web").detail
        await driver.apply(spec(deployment("web")))
        await world.wait_ready()
        assert status_of(world, "web").detail == ""


async def test_a_pods_name_that_another_has_is_said_in_the_status(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(kind(deployment("db-0"), "Pod")))
        await world.wait_ready()
        await driver.apply(spec(kind(deployment("db-0"), "Pod"), stateful("db")))
        await world.wait(lambda: "pod called db-0" in status_of(world, "db").detail)


async def test_a_program_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["command"] = [f"{sys.prefix}/bin/not-there"]
        await driver.apply(spec(web))
        await world.wait(lambda: "not-there" in status_of(world, "web").detail)


async def test_a_job_with_a_sidecar_is_done_when_its_containers_are(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(job("migrate"), with_sidecar=True))
        await world.wait_ready()
        assert status_of(world, "migrate").succeeded == 1
        assert driver.pods("shop") == ()
        assert world.credentials.valid == {}
        query = LogQuery("migrate", container="lapdev-sidecar")
        named = {line.container async for line in driver.logs("shop", query)}
        assert named <= {"lapdev-sidecar"}


async def test_a_job_that_is_taken_away_and_comes_back_runs_again(tmp_path: Path) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(job("migrate")))
        await world.wait_ready()
        await driver.apply(spec())
        await driver.apply(spec(job("migrate")))
        assert status_of(world, "migrate").ready == 0
        await world.wait_ready()
        assert len(await lines_of(world, "migrate")) == 2
