"""At most one upstream connection per target, none left when the downstream connection is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lapdev.errors import ConnectFailed
from lapdev.model import InterceptId
from lapdev.net.address import TcpAddress
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.tasks import Tasks
from lapdev.routing.table import APP, BranchCandidate, Candidate, LaptopCandidate
from lapdev.sidecar.laptops import LaptopOptions, Laptops, LaptopUnreachableError
from lapdev.sidecar.outbound import Dialled, Outbound, Upstreams
from tests.support.raw import AppConnection, recording_app
from tests.support.sidecar import ONE
from tests.support.unused import unused_port


class Ends:
    """An app that counts the connections that have ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Semaphore(0)

    async def __call__(self, connection: AppConnection) -> None:
        try:
            await connection.reader.read()
        finally:
            self.ended.release()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(5):
            for _ in range(count):
                await self.ended.acquire()


@asynccontextmanager
async def outbound_to(port: int) -> AsyncIterator[Outbound]:
    laptops = Laptops(LaptopOptions("i"))
    try:
        yield Outbound(TcpAddress("127.0.0.1", port), laptops)
    finally:
        await laptops.aclose()


async def test_a_connection_is_kept_per_target_and_all_close_together() -> None:
    ends = Ends()
    async with recording_app(ends) as app, outbound_to(app.port) as outbound:
        upstreams = Upstreams(outbound)
        branch = BranchCandidate(ONE, "one", app.address)
        assert upstreams.idle(APP) is None
        first = await upstreams.connect(APP)
        second = await upstreams.connect(branch)
        assert upstreams.idle(APP) is first
        assert upstreams.idle(branch) is second
        upstreams.close()
        await ends.wait(2)
        assert upstreams.idle(APP) is None


async def test_a_new_connection_to_a_target_takes_the_place_of_the_old_one() -> None:
    ends = Ends()
    async with recording_app(ends) as app, outbound_to(app.port) as outbound:
        upstreams = Upstreams(outbound)
        await upstreams.connect(APP)
        second = await upstreams.connect(APP)
        await ends.wait(1)
        assert upstreams.idle(APP) is second
        upstreams.close()
        await ends.wait(1)


async def test_a_released_connection_is_somebody_elses_to_close() -> None:
    ends = Ends()
    async with recording_app(ends) as app, outbound_to(app.port) as outbound:
        upstreams = Upstreams(outbound)
        upstream = await upstreams.connect(APP)
        upstreams.release(upstream)
        upstreams.close()
        assert not upstream.transport.is_closing()
        upstream.close()
        await ends.wait(1)


async def dialled(outbound: Outbound) -> Dialled | None:
    return APP, await Upstreams(outbound).connect(APP)


def to_app() -> Candidate:
    return APP


def connection_of(task: asyncio.Task[Dialled | None]) -> UpstreamConnection:
    found = task.result()
    assert found is not None
    return found[1]


async def nothing() -> None:
    return None


async def test_an_expected_app_connection_is_taken_by_the_first_who_needs_the_app() -> None:
    ends = Ends()
    async with (
        recording_app(ends) as app,
        outbound_to(app.port) as outbound,
        Tasks() as tasks,
    ):
        upstreams = Upstreams(outbound)
        coming = tasks.spawn(dialled(outbound), "dial")
        upstreams.expect(coming, to_app)
        upstream = await upstreams.connect(APP)
        assert upstream is connection_of(coming)
        assert len(app.connections) == 1
        upstreams.close()
        await ends.wait(1)


async def test_an_expected_connection_that_failed_or_closed_is_dialled_anew() -> None:
    ends = Ends()
    async with (
        recording_app(ends) as app,
        outbound_to(app.port) as outbound,
        Tasks() as tasks,
    ):
        upstreams = Upstreams(outbound)
        upstreams.expect(tasks.spawn(nothing(), "failed dial"), to_app)
        assert (await upstreams.connect(APP)).reusable
        other = Upstreams(outbound)
        coming = tasks.spawn(dialled(outbound), "dial")
        await coming
        connection_of(coming).close()
        other.expect(coming, to_app)
        assert (await other.connect(APP)) is not connection_of(coming)
        upstreams.close()
        other.close()
        await ends.wait(3)


@pytest.mark.parametrize("finished", [True, False])
async def test_an_expected_connection_nobody_took_is_closed(finished: bool) -> None:
    ends = Ends()
    async with (
        recording_app(ends) as app,
        outbound_to(app.port) as outbound,
        Tasks() as tasks,
    ):
        upstreams = Upstreams(outbound)
        coming = tasks.spawn(dialled(outbound), "dial")
        upstreams.expect(coming, to_app)
        if finished:
            await coming
        upstreams.close()
        await asyncio.wait([coming])
        assert coming.cancelled() or connection_of(coming).transport.is_closing()


async def test_what_was_dialled_for_another_stays_for_whom_it_leads_to() -> None:
    ends = Ends()
    async with (
        recording_app(ends) as local,
        outbound_to(local.port) as outbound,
        Tasks() as tasks,
    ):
        upstreams = Upstreams(outbound)
        coming = tasks.spawn(dialled(outbound), "dial")
        laptop = LaptopCandidate(InterceptId("i"), "t", "unix:/nowhere", 80)
        upstreams.expect(coming, to_app)
        with pytest.raises(LaptopUnreachableError):
            await upstreams.connect(laptop)
        assert await upstreams.connect(APP) is connection_of(coming)
        upstreams.close()
        await ends.wait(1)


async def test_what_cannot_be_reached_is_named() -> None:
    async with outbound_to(unused_port()) as outbound:
        with pytest.raises(ConnectFailed):
            await Upstreams(outbound).connect(APP)
        laptop = LaptopCandidate(InterceptId("i"), "t", "unix:/nowhere", 80)
        with pytest.raises(LaptopUnreachableError, match="over"):
            await Upstreams(outbound).connect(laptop)
