"""What every driver keeps about each kind of workload and service, and about log lines.

Promises as in `contract`, run over the same drivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lapdev.cluster.driver import LogQuery, NamespaceSpec
from lapdev.errors import ConfigError, NoRoute, NotFound
from lapdev.model import LogLine, Service, ServicePort, WorkloadStatus
from tests.cluster.contract import World, deployment, service, spec

SAY = "print('starting', flush=True); print('serving', flush=True)"


def kind(manifest: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    """The Deployment as another kind; `more` is added to its spec."""
    manifest = {**manifest, "kind": name}
    workload = dict(manifest["spec"])
    template = workload["template"]
    if name == "Pod":
        manifest["apiVersion"] = "v1"
        metadata = {**manifest["metadata"], **template["metadata"]}
        return {**manifest, "metadata": metadata, "spec": {**template["spec"], **more}}
    if name in ("Job", "CronJob"):
        manifest["apiVersion"] = "batch/v1"
        pod = {"restartPolicy": "Never", **template["spec"]}
        workload = {"template": {**template, "spec": pod}, **more}
    if name == "CronJob":
        workload = {"schedule": more.pop("schedule"), "jobTemplate": {"spec": workload}}
        workload["jobTemplate"]["spec"].pop("schedule")
    return {**manifest, "spec": {**workload, **more}}


def script(manifest: dict[str, Any], text: str) -> dict[str, Any]:
    """The Deployment's container runs this and ends; it listens on nothing."""
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["command"] = [sys.executable, "-S", "-c", text]
    container["ports"] = []
    return manifest


def job(name: str, text: str = SAY, **more: Any) -> dict[str, Any]:
    return kind(script(deployment(name), text), "Job", **more)


def headless(name: str) -> Service:
    return dataclasses.replace(service(name, 8080), headless=True)


async def lines_of(world: World, workload: str, **query: Any) -> list[LogLine]:
    return [line async for line in world.driver.logs("shop", LogQuery(workload, **query))]


def status_of(world: World, workload: str) -> WorkloadStatus:
    return next(each for each in world.driver.status("shop") if each.name == workload)


# Kinds


async def check_every_kind_becomes_ready_and_is_called_by_its_name(world: World) -> None:
    await world.driver.apply(
        spec(
            kind(deployment("db", replicas=2), "StatefulSet", serviceName="db"),
            kind(deployment("agent"), "DaemonSet"),
            kind(deployment("one"), "Pod"),
            kind(script(deployment("tidy"), SAY), "CronJob", schedule="0 0 1 1 *"),
            job("migrate"),
        )
    )
    await world.wait_ready()
    assert {each.name: (each.kind, each.wanted) for each in world.driver.status("shop")} == {
        "db": ("StatefulSet", 2),
        "agent": ("DaemonSet", 1),
        "one": ("Pod", 1),
        "tidy": ("CronJob", 0),
        "migrate": ("Job", 1),
    }
    assert len(world.endpoints_now("db")) == 2


async def check_a_job_that_is_done_stays_done(world: World) -> None:
    await world.driver.apply(spec(job("migrate"), deployment("web")))
    assert (status_of(world, "migrate").wanted, status_of(world, "migrate").ready) == (1, 0)
    await world.wait_ready()
    assert (status_of(world, "migrate").succeeded, status_of(world, "migrate").detail) == (1, "")
    before = await lines_of(world, "migrate")
    await world.driver.apply(spec(job("migrate"), deployment("web", answer="other")))
    await world.wait_ready()
    assert await lines_of(world, "migrate") == before
    assert len(before) == 2


async def check_a_changed_job_runs_again(world: World) -> None:
    await world.driver.apply(spec(job("migrate")))
    await world.wait_ready()
    (first,) = {line.pod for line in await lines_of(world, "migrate")}
    await world.driver.apply(spec(job("migrate", SAY + "#")))
    assert status_of(world, "migrate").ready == 0
    await world.wait_ready()
    assert first not in {line.pod for line in await lines_of(world, "migrate")}


async def check_a_job_runs_as_often_as_asked_for(world: World) -> None:
    await world.driver.apply(spec(job("fill", completions=3, parallelism=2)))
    await world.wait_ready()
    assert (status_of(world, "fill").wanted, status_of(world, "fill").succeeded) == (3, 3)
    assert len({line.pod for line in await lines_of(world, "fill")}) == 3


async def check_a_suspended_job_is_not_waited_for(world: World) -> None:
    await world.driver.apply(spec(job("fill", suspend=True), deployment("web")))
    await world.wait_ready()
    assert (status_of(world, "fill").wanted, status_of(world, "fill").succeeded) == (0, 0)


async def check_a_pod_that_has_done_its_work_is_ready(world: World) -> None:
    once = kind(script(deployment("once"), SAY), "Pod", restartPolicy="Never")
    await world.driver.apply(spec(once))
    await world.wait(lambda: status_of(world, "once").succeeded == 1)
    status = status_of(world, "once")
    assert (status.wanted, status.ready, status.failed) == (1, 1, "")


async def check_a_schedule_that_never_comes_is_refused(world: World) -> None:
    never = kind(script(deployment("tidy"), SAY), "CronJob", schedule="0 0 30 2 *")
    with pytest.raises(ConfigError, match="CronJob/tidy"):
        await world.driver.apply(spec(never))
    assert world.driver.status("shop") == ()


async def check_another_kind_of_the_same_name_takes_its_place(world: World) -> None:
    await world.driver.apply(spec(deployment("db")))
    await world.wait_ready()
    (before,) = world.endpoints_now("db")
    await world.driver.apply(spec(kind(deployment("db"), "StatefulSet", serviceName="db")))
    assert (status_of(world, "db").kind, status_of(world, "db").ready) == ("StatefulSet", 0)
    await world.wait_ready()
    assert before not in world.endpoints_now("db")


# Services


async def check_a_headless_service_has_a_name_and_its_pods_are_its_endpoints(
    world: World,
) -> None:
    db = kind(deployment("db", replicas=2), "StatefulSet", serviceName="db")
    await world.driver.apply(dataclasses.replace(spec(db), services=(headless("db"),)))
    await world.wait_ready()
    endpoints = world.driver.endpoints("shop", "db", 8080)
    assert {endpoint.rpartition(":")[2] for endpoint in endpoints} == {"8080"}
    assert len(set(endpoints)) == 2
    assert world.driver.service_host("shop", "db")


async def check_an_external_name_has_no_endpoints_and_says_so(world: World) -> None:
    mail = Service("mail", {}, (ServicePort(25, 25),), external_name="smtp.example.com")
    plain = spec(deployment("web"))
    await world.driver.apply(dataclasses.replace(plain, services=(*plain.services, mail)))
    assert world.driver.service_host("shop", "mail") == "smtp.example.com"
    with pytest.raises(NoRoute, match="another name"):
        world.driver.endpoints("shop", "mail", 25)


async def check_two_services_may_have_the_same_pods(world: World) -> None:
    other = dataclasses.replace(service("web", 8081), name="admin")
    plain = spec(deployment("web"))
    await world.driver.apply(dataclasses.replace(plain, services=(*plain.services, other)))
    await world.wait_ready()
    assert world.driver.endpoints("shop", "admin", 8081) == world.endpoints_now("web")
    assert world.driver.service_host("shop", "admin") != world.driver.service_host("shop", "web")


async def check_a_service_that_selects_nothing_has_no_endpoints(world: World) -> None:
    nobody = Service("nobody", {}, (ServicePort(80, 8080),))
    plain = spec(deployment("web"))
    await world.driver.apply(dataclasses.replace(plain, services=(*plain.services, nobody)))
    await world.wait_ready()
    assert world.endpoints_now("nobody") == ()


# Log lines


async def check_log_lines_say_who_printed_them(world: World) -> None:
    await world.driver.apply(spec(job("fill")))
    await world.wait_ready()
    lines = await lines_of(world, "fill")
    assert [(line.container, line.text) for line in lines] == [
        ("web", "starting"),
        ("web", "serving"),
    ]
    assert lines[0].pod.startswith("fill-")
    assert lines == sorted(lines, key=lambda line: line.time)
    assert [line.text for line in await lines_of(world, "fill", lines=1)] == ["serving"]
    assert await lines_of(world, "fill", container="other") == []


async def check_log_lines_of_an_unknown_workload_are_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="shop"):
        await lines_of(world, "web")
    await world.driver.apply(spec(deployment("web")))
    with pytest.raises(NotFound, match="api"):
        await lines_of(world, "api")


async def check_followed_log_lines_go_on_with_the_next_pod(world: World) -> None:
    await world.driver.apply(spec(job("fill")))
    await world.wait_ready()
    pods: dict[str, list[str]] = {}
    query = LogQuery("fill", follow=True)
    async with asyncio.timeout(20), contextlib.aclosing(world.driver.logs("shop", query)) as lines:  # type: ignore[type-var]
        async for line in lines:
            pods.setdefault(line.pod, []).append(line.text)
            if len(pods) == 1 and len(pods[line.pod]) == 2:
                await world.driver.apply(spec(job("fill", SAY + "#")))
            elif len(pods) == 2 and len(pods[line.pod]) == 2:
                break
    assert [*pods.values()] == [["starting", "serving"]] * 2


async def check_followed_log_lines_end_with_the_namespace(world: World) -> None:
    await _check_following_ends(world, lambda: world.driver.delete("shop"))


async def check_followed_log_lines_end_when_the_workload_leaves(world: World) -> None:
    await _check_following_ends(world, lambda: world.driver.apply(spec(deployment("api"))))


async def _check_following_ends(world: World, leave: Callable[[], Awaitable[None]]) -> None:
    await world.driver.apply(spec(deployment("web"), deployment("api")))
    await world.wait_ready()
    seen = []
    with pytest.raises(NotFound):
        async with asyncio.timeout(20):
            async for line in world.driver.logs("shop", LogQuery("web", follow=True)):
                seen.append(line.text)
                if line.text == "serving":
                    await leave()
    assert "serving" in seen


async def check_a_spec_may_be_applied_over_and_over(world: World) -> None:
    wanted = spec(job("migrate"), kind(deployment("db"), "StatefulSet", serviceName="db"))
    for _ in range(3):
        await world.driver.apply(wanted)
    await world.wait_ready()
    before = (world.driver.status("shop"), world.endpoints_now("db"))
    await world.driver.apply(
        NamespaceSpec(
            **{each.name: getattr(wanted, each.name) for each in dataclasses.fields(wanted)}
        )
    )
    assert (world.driver.status("shop"), world.endpoints_now("db")) == before


CHECKS = {name: found for name, found in list(globals().items()) if name.startswith("check_")}
