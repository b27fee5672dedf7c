from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lapdev.devbox.session import Device, Session
from lapdev.errors import CallFailed, NotFound, NotReady, StreamRefused
from lapdev.model import DeviceId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Uplink, UplinkOptions, new_id
from lapdev.wire.control import Done, ServiceTarget
from tests.support.devbox_cloud import TOKEN, DevboxCloud, devbox_cloud, intercept
from tests.support.raw import PATIENCE, answer_every_request, recording_app


@asynccontextmanager
async def connected(cloud: DevboxCloud) -> AsyncIterator[Session]:
    async with Tasks() as tasks:
        device = Device(DeviceId("dev"), "machine")
        session = Session(device, "shop", tasks, lambda: None)
        options = UplinkOptions(
            cloud.address, "/_lapdev/tunnel/devbox", TOKEN, "devbox", instance=new_id()
        )
        tasks.spawn(Uplink(options, session).run(), "uplink")
        yield session


class Collector(asyncio.Protocol):
    """The far end of an intercept's stream, as the sidecar would be."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def test_a_session_starts_with_its_device_and_environment() -> None:
    async with devbox_cloud() as cloud, connected(cloud) as session, asyncio.timeout(PATIENCE):
        state = await session.wait_started()
        request = await cloud.started.get()
        assert (request.device, request.device_name, request.environment) == (
            "dev",
            "machine",
            "shop",
        )
        assert state.environment_name == "shop"
        assert session.connected


async def test_a_refused_session_says_what_the_cloud_said() -> None:
    async with devbox_cloud() as cloud:
        cloud.refuse_with = NotFound("no environment 'shop'")
        async with connected(cloud) as session, asyncio.timeout(PATIENCE):
            with pytest.raises(CallFailed, match="no environment 'shop'"):
                await session.wait_started()


async def test_a_pushed_state_replaces_the_old_one() -> None:
    async with devbox_cloud() as cloud, connected(cloud) as session, asyncio.timeout(PATIENCE):
        await session.wait_started()
        await cloud.push(intercepts=(intercept(3000),))
        assert session.state is not None
        assert session.state.intercepts[0].ports[0].local_port == 3000


async def test_a_devbox_takes_no_other_call() -> None:
    async with devbox_cloud() as cloud, connected(cloud) as session, asyncio.timeout(PATIENCE):
        await session.wait_started()
        assert cloud.tunnel is not None
        with pytest.raises(CallFailed, match="takes no Done"):
            await cloud.tunnel.call(Done())


async def test_an_intercepts_stream_reaches_the_local_program() -> None:
    async with (
        recording_app(answer_every_request) as app,
        devbox_cloud() as cloud,
        connected(cloud) as session,
        asyncio.timeout(PATIENCE),
    ):
        await session.wait_started()
        await cloud.push(intercepts=(intercept(app.port),))
        collector = Collector()
        stream = cloud.open_intercept(collector)
        stream.write(b"GET /here HTTP/1.1\r\n\r\n")
        await stream.wait_accepted()
        stream.write_eof()
        await collector.lost
        assert collector.received.endswith(b"GET /here HTTP/1.1")


async def test_a_local_program_that_does_not_listen_refuses_the_stream() -> None:
    async with recording_app(answer_every_request) as app:
        free = app.port
    async with devbox_cloud() as cloud, connected(cloud) as session, asyncio.timeout(PATIENCE):
        await session.wait_started()
        await cloud.push(intercepts=(intercept(free),))
        stream = cloud.open_intercept(asyncio.Protocol())
        with pytest.raises(StreamRefused, match=f"port {free} of the laptop") as caught:
            await stream.wait_accepted()
        assert caught.value.cause == "connect_failed"


@pytest.mark.parametrize("port", [8080, 9999])
async def test_only_intercepts_of_this_session_are_served(port: int) -> None:
    async with (
        recording_app(answer_every_request) as app,
        devbox_cloud() as cloud,
        connected(cloud) as session,
        asyncio.timeout(PATIENCE),
    ):
        await session.wait_started()
        if port == 9999:  # an intercept it has, at a port that the intercept does not
            await cloud.push(intercepts=(intercept(app.port),))
        with pytest.raises(StreamRefused, match="no such intercept"):
            await cloud.open_intercept(asyncio.Protocol(), port).wait_accepted()
        assert not app.connections


async def test_the_cloud_cannot_open_a_service_on_a_laptop() -> None:
    async with devbox_cloud() as cloud, connected(cloud) as session, asyncio.timeout(PATIENCE):
        await session.wait_started()
        assert cloud.tunnel is not None
        target = ServiceTarget("ns-shop", "api", 8080)
        with pytest.raises(StreamRefused):
            await cloud.tunnel.open_stream(target, asyncio.Protocol()).wait_accepted()


async def test_before_the_session_nothing_can_be_reached() -> None:
    async with Tasks() as tasks:
        session = Session(Device(DeviceId("d"), "m"), "", tasks, lambda: None)
        with pytest.raises(NotReady):
            session.open_service("api", 8080, asyncio.Protocol())
