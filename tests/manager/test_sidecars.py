"""Route snapshots on their way to the replicas, over real tunnels."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.errors import CallFailed, LapdevError, StreamRefused
from lapdev.manager import sidecars as module
from lapdev.manager.plan import Place
from lapdev.manager.routes import rows_digest
from lapdev.model import BranchRoute, EnvironmentId, RouteSnapshot, SidecarIdentity
from lapdev.wire.control import ReportCluster, RoutesApplied, ServiceTarget
from tests.support.pods import Pod, PodHost, pod_host
from tests.support.tunnel_ends import Recorder, failing

ENV = EnvironmentId("e1")
API = SidecarIdentity("shop", ENV, "shop", "api", pod="api-1")
API_2 = dataclasses.replace(API, pod="api-2")
WEB = dataclasses.replace(API, workload="web", pod="web-1")
PLACE = Place(ENV, "api")


def routes(generation: int, *branches: str, workload: str = "api") -> dict[Place, RouteSnapshot]:
    """The snapshot of one workload with a row per branch."""
    rows = tuple(
        BranchRoute(EnvironmentId(name), name, {"web:80": f"{name}:80"}) for name in branches
    )
    digest = rows_digest(rows, ())
    return {
        Place(ENV, workload): RouteSnapshot(
            ENV, "shop", workload, generation, digest, branches=rows
        )
    }


def branches(pod: Pod) -> list[tuple[str, ...]]:
    """The branches in each snapshot the pod took, in order."""
    return [tuple(row.name for row in snapshot.branches) for snapshot in pod.held]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PodHost]:
    async with pod_host(tmp_path) as found:
        yield found


async def until_applied(host: PodHost, generation: int) -> None:
    await host.applied.until(lambda: host.feed.routes_generation("shop", PLACE) == generation)


async def test_a_sidecar_gets_its_workloads_routes_when_it_connects(host: PodHost) -> None:
    host.feed.publish("shop", routes(3, "v2") | routes(3, workload="web"))
    api, web = await host.connect(API), await host.connect(WEB)
    await until_applied(host, 3)
    await web.watcher.wait_until(lambda _: bool(web.held))
    assert branches(api) == [("v2",)]
    assert branches(web) == [()]
    assert web.held[0].workload == "web"


async def test_a_sidecar_without_routes_yet_gets_them_when_they_come(host: PodHost) -> None:
    pod = await host.connect(API)
    assert host.feed.routes_generation("shop", PLACE) == 0
    host.feed.publish("shop", routes(1, "v2"))
    await until_applied(host, 1)
    assert branches(pod) == [("v2",)]


async def test_every_replica_is_told_and_the_slowest_counts(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    first, second = await host.connect(API), await host.connect(API_2)
    await until_applied(host, 1)
    second.watcher.gate.clear()
    host.feed.publish("shop", routes(2, "v2"))
    await first.watcher.wait_until(lambda _: len(first.held) == 2)
    assert host.feed.routes_generation("shop", PLACE) == 1
    host.feed.publish("shop", routes(3, "v3"))
    await first.watcher.wait_until(lambda _: len(first.held) == 3)
    second.watcher.gate.set()
    await until_applied(host, 3)
    assert branches(second)[-1] == ("v3",)


async def test_only_workloads_whose_rows_changed_are_told(host: PodHost) -> None:
    host.feed.publish("shop", routes(1) | routes(1, workload="web"))
    api, web = await host.connect(API), await host.connect(WEB)
    await web.watcher.wait_until(lambda _: bool(web.held))
    await until_applied(host, 1)
    host.feed.publish("shop", routes(2, "v2") | routes(2, workload="web"))
    await until_applied(host, 2)
    host.feed.publish("shop", routes(3, "v2") | routes(3, workload="web"))
    assert host.feed.routes_generation("shop", PLACE) == 3, "equal rows are held already"
    host.feed.publish("shop", routes(4, "v3") | routes(4, workload="web"))
    await until_applied(host, 4)
    assert [snapshot.generation for snapshot in api.held] == [1, 2, 4]
    assert web.calls == 1


async def test_a_burst_of_changes_is_told_in_few_calls(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    pod = await host.connect(API)
    await until_applied(host, 1)
    for generation in range(2, 102):
        host.feed.publish("shop", routes(generation, f"b{generation}"))
    await until_applied(host, 101)
    assert pod.calls <= 3


async def test_other_namespaces_are_not_disturbed(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    pod = await host.connect(API)
    await until_applied(host, 1)
    host.feed.publish("other", routes(9, "v2"))
    assert host.feed.routes_generation("other", PLACE) == 0
    host.feed.publish("shop", routes(2, "v2"))
    await until_applied(host, 2)
    assert pod.calls == 2


async def test_a_refusing_sidecar_is_told_again_until_it_takes_them(
    host: PodHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    pod = await host.connect(API)
    good, refusals = pod.watcher.answer, 3
    pod.watcher.answer = failing(LapdevError("not now"))
    host.feed.publish("shop", routes(1, "v2"))
    await pod.watcher.wait_until(lambda seen: len(seen.calls) >= refusals)
    pod.watcher.answer = good
    await until_applied(host, 1)
    assert branches(pod) == [("v2",)]


async def test_an_answer_that_is_none_counts_as_refusal(
    host: PodHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    pod = await host.connect(API)
    pod.watcher.answer = lambda message: message
    host.feed.publish("shop", routes(1))
    await pod.watcher.wait_until(lambda seen: len(seen.calls) >= 2)
    assert host.feed.routes_generation("shop", PLACE) == 0


async def test_a_sidecar_that_holds_newer_routes_is_not_nagged(host: PodHost) -> None:
    pod = await host.connect(API)
    pod.newest = RoutesApplied(50, "from another manager")
    host.feed.publish("shop", routes(2, "v2"))
    await until_applied(host, 50)
    assert pod.calls == 1
    host.feed.publish("shop", routes(51, "v3"))
    await until_applied(host, 51)
    assert branches(pod) == [("v3",)]


async def test_a_sidecar_that_comes_back_is_told_again(host: PodHost) -> None:
    host.feed.publish("shop", routes(1, "v2"))
    pod = await host.connect(API)
    await until_applied(host, 1)
    pod.cut()
    await pod.watcher.wait_until(lambda seen: len(seen.up) == 2)
    await pod.watcher.wait_until(lambda seen: len(seen.calls) == 2)
    await until_applied(host, 1)


async def test_routes_published_while_a_sidecar_is_away_reach_it(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    pod = await host.connect(API)
    await until_applied(host, 1)
    pod.cut()
    host.feed.publish("shop", routes(2, "v2"))
    await until_applied(host, 2)
    assert branches(pod)[-1] == ("v2",)


async def test_a_replica_that_is_away_does_not_count(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    pod = await host.connect(API)
    await until_applied(host, 1)
    await pod.uplink.wait_up()
    tunnel = pod.uplink.tunnel
    assert tunnel is not None
    await tunnel.aclose("the sidecar stops")
    await host.applied.until(lambda: host.feed.routes_generation("shop", PLACE) == 0)


async def test_waiting_until_every_connected_replica_holds_what_was_published(
    host: PodHost,
) -> None:
    host.feed.publish("shop", routes(1, "v2"))
    slow, away = await host.connect(API), await host.connect(API_2)
    await host.feed.wait_held("shop")
    slow.watcher.gate.clear()
    await until_applied(host, 1)
    tunnel = away.uplink.tunnel
    assert tunnel is not None
    await tunnel.aclose("the sidecar stops")
    host.feed.publish("shop", routes(2))
    await host.feed.wait_held("other")
    waiting = host.tasks.spawn(host.feed.wait_held("shop"), "wait held")
    await slow.watcher.wait_until(lambda seen: len(seen.calls) == 2)
    assert not waiting.done()
    slow.watcher.gate.set()
    await waiting
    assert branches(slow)[-1] == ()


async def test_a_restarted_sidecar_of_the_same_pod_is_told_anew(host: PodHost) -> None:
    host.feed.publish("shop", routes(1, "v2"))
    token = host.tokens.issue(API)
    host.dial(token, "first-life")
    await until_applied(host, 1)
    again = host.dial(token, "second-life")
    await again.watcher.wait_until(lambda seen: bool(seen.calls))
    assert branches(again) == [("v2",)]


async def test_a_pod_that_is_gone_loses_its_tunnel(host: PodHost) -> None:
    host.feed.publish("shop", routes(1))
    pod, other = await host.connect(API), await host.connect(API_2)
    await until_applied(host, 1)
    host.tokens.revoke(API)
    await pod.watcher.wait_until(lambda seen: bool(seen.closed))
    assert other.watcher.closed == []
    assert host.feed.connected == 1


async def test_a_pod_that_went_while_it_connected_is_sent_away(host: PodHost) -> None:
    await host.connect(API)
    (tunnel,) = host.server.tunnels
    host.feed.tunnel_closed(tunnel, LapdevError())
    host.feed._pods.clear()
    host.feed.tunnel_up(tunnel)
    await host.applied.until(lambda: host.feed.connected == 0)


async def test_a_namespace_that_is_forgotten_has_no_routes(host: PodHost) -> None:
    host.feed.publish("shop", routes(1, "v2"))
    host.feed.forget("shop")
    host.feed.forget("shop")
    pod = await host.connect(API)
    host.feed.publish("shop", routes(2, "v3"))
    await until_applied(host, 2)
    assert branches(pod) == [("v3",)]


async def test_a_sidecar_opens_no_streams_and_makes_no_calls(host: PodHost) -> None:
    pod = await host.connect(API)
    tunnel = await pod.uplink.wait_up()
    with pytest.raises(CallFailed) as refused:
        await tunnel.call(ReportCluster("1", "fake"))
    assert refused.value.cause == "forbidden"
    stream = tunnel.open_stream(ServiceTarget("shop", "api", 80), Recorder())
    with pytest.raises(StreamRefused) as refusal:
        await stream.wait_accepted()
    assert refusal.value.cause == "forbidden"
