"""The cloud's calls and streams, over a real tunnel, reach those who carry them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lapdev.cloud.refusals import told
from lapdev.errors import CallFailed, LapdevError, StreamRefused
from lapdev.manager.changes import Changes
from lapdev.manager.cloud_link import CloudLink, ClusterPlace, Openers
from lapdev.manager.logs import LogStreams
from lapdev.manager.plan import Place
from lapdev.manager.reconciler import Reconciler
from lapdev.manager.reports import Reports
from lapdev.manager.streams import ServiceStreams
from lapdev.model import EnvironmentId, EnvironmentStatus, InterceptId, RouteSnapshot
from lapdev.net.overload import Overload, Pressure
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Tunnel, Uplink, UplinkOptions
from lapdev.wire.control import (
    ApplyEnvironment,
    DeleteEnvironment,
    Done,
    EnvironmentRef,
    InterceptTarget,
    LogsTarget,
    Message,
    ReportCluster,
    ReportEnvironment,
    ServiceTarget,
    SyncEnvironments,
    SyncNeeds,
)
from tests.support.fake_driver import FakeDriver
from tests.support.tunnel_ends import FAST, Acceptor, Recorder, failing
from tests.support.wishes import NAMESPACE, base, grant

SHOP = base().environment.id


class Routes:
    """Keeps what was published last."""

    snapshots: Mapping[Place, RouteSnapshot]

    def publish(self, namespace: str, snapshots: Mapping[Place, RouteSnapshot]) -> None:
        self.snapshots = snapshots

    def forget(self, namespace: str) -> None: ...
    def routes_generation(self, namespace: str, place: Place) -> int:
        return 0

    async def wait_held(self, namespace: str) -> None: ...


@dataclass
class Stage:
    """A cloud's listener, and a manager without sidecars that is connected to it."""

    overload: Overload
    cloud: Acceptor
    link: CloudLink
    driver: FakeDriver
    routes: Routes
    uplink: Uplink

    @property
    def tunnel(self) -> Tunnel:
        return self.cloud.tunnel

    def heard(self, kind: type[Message]) -> list[Message]:
        return [call for call in self.cloud.watcher.calls if isinstance(call, kind)]

    async def tell(self, *held: ApplyEnvironment) -> None:
        refs = (EnvironmentRef(h.environment.id, h.environment.generation) for h in held)
        needs = await self.tunnel.call(SyncEnvironments(tuple(refs)))
        assert isinstance(needs, SyncNeeds)
        for item in held:
            if item.environment.id in needs.environments:
                assert await self.tunnel.call(item) == Done()

    async def until_reported(self, status: EnvironmentStatus) -> ReportEnvironment:
        def found() -> list[ReportEnvironment]:
            reports = self.heard(ReportEnvironment)
            return [r for r in reports if isinstance(r, ReportEnvironment) and r.status is status]

        async with asyncio.timeout(10):
            await self.cloud.watcher.wait_until(lambda _: bool(found()))
        return found()[-1]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    address = f"unix:{tmp_path}/c"
    cloud, driver, routes = Acceptor(address, FAST), FakeDriver(), Routes()
    await cloud.start()
    async with Tasks() as tasks:
        changes: Changes[EnvironmentId] = Changes()
        reconciler = Reconciler(driver, tasks, routes, changes.mark)
        reports = Reports(changes, reconciler.report, reconciler.environments)
        streams = ServiceStreams(driver, tasks, reconciler.check_target)
        overload = Overload(100, lambda: 0)
        logs = LogStreams(driver, tasks, reconciler.find_logs)
        openers = Openers(streams, logs, overload.admit)
        place = ClusterPlace("fake", "no limits", "unix:/where/pods/see/it.sock")
        link = CloudLink(reconciler, reports, openers, tasks, place)
        options = UplinkOptions(address, "/", "token", "manager", "m1", tunnel=FAST)
        uplink = Uplink(options, link)
        tasks.spawn(reports.run(), "reports")
        async with Tasks() as dialling:
            dialling.spawn(uplink.run(), "uplink")
            await uplink.wait_up()
            await cloud.watcher.wait_until(lambda seen: bool(seen.up))
            yield Stage(overload, cloud, link, driver, routes, uplink)
    await cloud.aclose()


async def test_the_cluster_is_reported_after_each_connect(stage: Stage) -> None:
    watcher = stage.cloud.watcher
    await watcher.wait_until(lambda _: bool(stage.heard(ReportCluster)))
    (report,) = stage.heard(ReportCluster)
    assert isinstance(report, ReportCluster)
    assert (report.driver, report.detail) == ("fake", "no limits")
    await stage.tunnel.aclose("again")
    await watcher.wait_until(lambda _: len(stage.heard(ReportCluster)) == 2)


async def test_an_environment_is_taken_up_reported_and_deleted(stage: Stage) -> None:
    await stage.tell(base(generation=3))
    report = await stage.until_reported(EnvironmentStatus.READY)
    assert (report.id, report.generation) == (SHOP, 3)
    assert await stage.tunnel.call(DeleteEnvironment(SHOP)) == Done()
    assert stage.driver.pods(NAMESPACE) == []


async def test_everything_is_reported_again_after_a_reconnect(stage: Stage) -> None:
    await stage.tell(base())
    await stage.until_reported(EnvironmentStatus.READY)
    stage.cloud.watcher.calls.clear()
    await stage.tunnel.aclose("again")
    await stage.until_reported(EnvironmentStatus.READY)


async def test_sidecars_are_told_where_they_see_the_cloud(stage: Stage) -> None:
    await stage.tell(base(intercepts=[grant("i1")]))
    await stage.until_reported(EnvironmentStatus.READY)
    (route,) = stage.routes.snapshots[Place(SHOP, "api")].intercepts
    assert route.cloud == "unix:/where/pods/see/it.sock"
    assert route.token == "token of i1"


async def test_a_stream_reaches_the_service_streams(stage: Stage) -> None:
    await stage.tell(base())
    await stage.until_reported(EnvironmentStatus.READY)
    stage.driver.set_endpoints(NAMESPACE, "api", 80)
    for target, cause in (
        (ServiceTarget(NAMESPACE, "api", 80), "not_ready"),
        (ServiceTarget(NAMESPACE, "nothing", 80), "no_route"),
        (ServiceTarget("kube-system", "api", 80), "forbidden"),
    ):
        stream = stage.tunnel.open_stream(target, Recorder())
        with pytest.raises(StreamRefused) as refused:
            await stream.wait_accepted()
        assert refused.value.cause == cause


async def test_f20_an_overloaded_manager_opens_no_streams_and_keeps_its_tunnel(
    stage: Stage,
) -> None:
    await stage.tell(base())
    await stage.until_reported(EnvironmentStatus.READY)
    stage.overload.pressure = Pressure.OVERLOADED
    for target in (ServiceTarget(NAMESPACE, "api", 80), LogsTarget(SHOP, "api", "", 10, False)):
        stream = stage.tunnel.open_stream(target, Recorder())
        with pytest.raises(StreamRefused) as refused:
            await stream.wait_accepted()
        assert told(refused.value).status == 503
        assert refused.value.cause == "overloaded"
    assert stage.overload.turned_away == 2
    await stage.tell(base(generation=2))


async def test_a_stream_reaches_the_logs(stage: Stage) -> None:
    await stage.tell(base())
    await stage.until_reported(EnvironmentStatus.READY)
    recorder = Recorder(keep_open=False)
    stage.tunnel.open_stream(LogsTarget(SHOP, "api", "", 10, False), recorder)
    await recorder.wait_until(lambda seen: seen.eof)
    assert b'"pod":"api-00001"' in recorder.data
    stream = stage.tunnel.open_stream(LogsTarget(SHOP, "apo", "", 10, False), Recorder())
    with pytest.raises(StreamRefused, match="it runs api, web"):
        await stream.wait_accepted()


async def test_a_manager_opens_no_intercepts(stage: Stage) -> None:
    stream = stage.tunnel.open_stream(InterceptTarget(InterceptId("i1"), 80), Recorder())
    with pytest.raises(StreamRefused) as refused:
        await stream.wait_accepted()
    assert refused.value.cause == "forbidden"


async def test_a_call_that_is_not_the_clouds_is_refused(stage: Stage) -> None:
    with pytest.raises(CallFailed) as refused:
        await stage.tunnel.call(ReportCluster("1", "x"))
    assert refused.value.cause == "forbidden"


async def test_a_cloud_that_refuses_the_report_is_still_served(stage: Stage) -> None:
    stage.cloud.watcher.answer = failing(LapdevError("busy"))
    await stage.tunnel.aclose("again")
    await stage.cloud.watcher.wait_until(lambda _: len(stage.heard(ReportCluster)) == 2)
    await stage.tell(base())
