"""Requests that a developer's laptop takes, and what happens when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lapdev.errors import ConnectFailed
from lapdev.model import EnvironmentId, InterceptId, InterceptRoute, Protocol
from lapdev.net.listener import dial
from lapdev.net.relay import Waiting, relay_waiting
from lapdev.net.tasks import Tasks
from lapdev.routing.table import LaptopCandidate
from lapdev.sidecar.laptops import (
    TUNNEL_PATH,
    LaptopOptions,
    Laptops,
    LaptopUnreachableError,
)
from lapdev.tunnel import Stream
from lapdev.wire.control import InterceptTarget, Target
from tests.support.raw import (
    AppConnection,
    RecordingApp,
    Script,
    answer_every_request,
    connect,
    recording_app,
)
from tests.support.sidecar import ONE, SERVICE_PORT, branch, launch, running, snapshot
from tests.support.tunnel_peer import TunnelPeer, tunnel_peer
from tests.support.unused import unused_port

TOKEN = "intercept-token"
ID = InterceptId("i1")
GET = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"
GET_ONE = GET.replace(b"\r\n\r\n", b"\r\ntracestate: lapdev-env-id=" + ONE.encode() + b"\r\n\r\n")


def says(name: bytes) -> Script:
    async def script(connection: AppConnection) -> None:
        while True:
            await connection.read_head()
            connection.answer(name)

    return script


def intercept(cloud: str, *, on: EnvironmentId | None = None) -> InterceptRoute:
    return InterceptRoute(ID, on, "api", (SERVICE_PORT,), TOKEN, cloud)


def candidate(cloud: str) -> LaptopCandidate:
    return LaptopCandidate(ID, TOKEN, cloud, SERVICE_PORT)


@asynccontextmanager
async def cloud_with_laptop(app: RecordingApp) -> AsyncIterator[TunnelPeer]:
    """A cloud whose every stream ends at `app`, which stands for the laptop's local program."""
    async with Tasks() as tasks, tunnel_peer(TOKEN) as peer:

        async def reach(stream: Stream) -> None:
            try:
                _, far = await dial(app.address, Waiting)
            except ConnectFailed as exc:
                stream.refuse(exc)
                return
            near = Waiting()
            stream.accept(near)
            relay_waiting(near, far)

        def opened(stream: Stream, target: Target) -> None:
            tasks.spawn(reach(stream), "laptop")

        peer.opened = opened
        yield peer


@asynccontextmanager
async def laptops(*rows: InterceptRoute) -> AsyncIterator[Laptops]:
    """Short of patience, so that a test need not be."""
    ways = Laptops(LaptopOptions("i" * 32, accept_timeout=0.05, probe_interval=0.01))
    ways.apply(snapshot(*rows))
    try:
        yield ways
    finally:
        await ways.aclose()


def accepts(stream: Stream, target: Target) -> None:
    stream.accept(asyncio.Protocol())


async def recovered(ways: Laptops, peer: TunnelPeer) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                (await ways.open(candidate(peer.address), asyncio.Protocol())).abort()
            except LaptopUnreachableError:
                await asyncio.sleep(0)
            else:
                return


async def test_an_intercept_takes_the_requests_and_a_stopped_one_gives_them_back() -> None:
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"laptop")) as local,
        cloud_with_laptop(local) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        for _ in range(3):
            client.send(GET)
            _, headers, body = await client.response()
            assert body == b"laptop"
            assert headers["lapdev-answered-by"] == (
                "api; env=staging; via=intercept; reason=intercept"
            )
        assert peer.paths == [TUNNEL_PATH]
        assert peer.targets == [InterceptTarget(ID, SERVICE_PORT)] * 3
        sidecar.routes.apply(snapshot(generation=2))
        client.send(GET)
        assert (await client.response())[2] == b"base"
        await peer.wait_gone()


async def test_a_link_that_was_up_and_is_gone_is_not_waited_for() -> None:
    ways = Laptops(LaptopOptions("i" * 32, accept_timeout=3600.0))
    async with tunnel_peer(TOKEN) as peer:
        peer.opened = accepts
        ways.apply(snapshot(intercept(peer.address)))
        (await ways.open(candidate(peer.address), asyncio.Protocol())).abort()
    async with asyncio.timeout(5):
        with pytest.raises(LaptopUnreachableError) as caught:
            await ways.open(candidate(peer.address), asyncio.Protocol())
    assert caught.value.word == "refused"
    await ways.aclose()


async def test_a_branch_intercept_takes_only_its_branch_and_names_it() -> None:
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"one")) as one,
        recording_app(says(b"laptop")) as local,
        cloud_with_laptop(local) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        rows = branch(ONE, "one", one.address), intercept(peer.address, on=ONE)
        sidecar.routes.apply(snapshot(*rows))
        client.send(GET)
        assert (await client.response())[2] == b"base"
        client.send(GET_ONE)
        _, headers, body = await client.response()
        assert body == b"laptop"
        assert headers["lapdev-answered-by"] == "api; env=one; via=intercept; reason=intercept"
        assert b"lapdev-diverted" not in bytes(local.connections[0])


async def test_no_tunnel_is_dialled_before_a_request_needs_it() -> None:
    async with (
        recording_app(says(b"base")) as base,
        tunnel_peer(TOKEN) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address, on=ONE)))
        client.send(GET)
        assert (await client.response())[2] == b"base"
        assert peer.paths == []


async def test_a_local_program_that_is_down_falls_back_at_once() -> None:
    async with (
        recording_app(says(b"base")) as base,
        cloud_with_laptop(RecordingApp(unused_port())) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        words = []
        for _ in range(2):
            client.send(GET)
            _, headers, body = await client.response()
            assert body == b"base"
            words.append(headers["lapdev-answered-by"].rpartition("reason=")[2])
        assert words == ["intercept_refused", "intercept_suspect"]


async def test_a_cloud_that_is_away_falls_back() -> None:
    gone = f"http://127.0.0.1:{unused_port()}"
    async with laptops(intercept(gone)) as ways:
        with pytest.raises(LaptopUnreachableError) as caught:
            await ways.open(candidate(gone), asyncio.Protocol())
        assert caught.value.word == "timeout"


async def test_a_laptop_that_does_not_accept_in_time_is_suspect_until_it_does() -> None:
    silent: list[Stream] = []
    async with (
        tunnel_peer(TOKEN, lambda stream, _: silent.append(stream)) as peer,
        laptops(intercept(peer.address)) as ways,
    ):
        words = []
        for _ in range(2):
            with pytest.raises(LaptopUnreachableError) as caught:
                await ways.open(candidate(peer.address), asyncio.Protocol())
            words.append(caught.value.word)
        assert words == ["timeout", "suspect"]
        peer.opened = accepts
        await recovered(ways, peer)


async def test_an_intercept_that_is_over_is_not_dialled_again() -> None:
    async with tunnel_peer(TOKEN) as peer, laptops(intercept(peer.address)) as ways:
        ways.apply(snapshot(generation=2))
        with pytest.raises(LaptopUnreachableError, match="over"):
            await ways.open(candidate(peer.address), asyncio.Protocol())
        assert peer.paths == []


async def test_a_new_token_gets_a_new_tunnel() -> None:
    async with tunnel_peer(TOKEN, accepts) as peer, laptops(intercept(peer.address)) as ways:
        (await ways.open(candidate(peer.address), asyncio.Protocol())).abort()
        peer.token = "another"
        row = InterceptRoute(ID, None, "api", (SERVICE_PORT,), "another", peer.address)
        ways.apply(snapshot(row, generation=2))
        await peer.wait_gone()
        other = LaptopCandidate(ID, "another", peer.address, SERVICE_PORT)
        (await ways.open(other, asyncio.Protocol())).abort()
        assert len(peer.paths) == 2


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UNDECLARED])
async def test_raw_connections_follow_an_intercept_on_the_base(protocol: Protocol) -> None:
    async def greets(connection: AppConnection) -> None:
        connection.send(b"laptop 1.0\n")
        connection.send(await connection.reader.read())

    async with (
        recording_app(answer_every_request) as base,
        recording_app(greets) as local,
        cloud_with_laptop(local) as peer,
        running(launch(base.port, protocol)) as sidecar,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        async with connect(sidecar.addresses[0]) as client:
            assert await client.read_until(b"\n") == b"laptop 1.0\n"
            client.send(b"\x00bytes")
            client.writer.write_eof()
            assert await client.read_rest() == b"\x00bytes"
        assert len(base.connections) == 0


async def test_on_an_undeclared_port_a_local_program_sees_one_connection_a_request() -> None:
    ends: asyncio.Queue[str] = asyncio.Queue()

    async def tells_its_end(connection: AppConnection) -> None:
        try:
            while True:
                await connection.read_head()
                connection.answer(b"laptop")
        except asyncio.IncompleteReadError:
            ends.put_nowait("clean")
        except ConnectionResetError:
            ends.put_nowait("reset")

    async with (
        recording_app(says(b"base")) as base,
        recording_app(tells_its_end) as local,
        cloud_with_laptop(local) as peer,
        running(launch(base.port, Protocol.UNDECLARED)) as sidecar,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        async with connect(sidecar.addresses[0]) as client:
            for _ in range(3):
                client.send(GET)
                assert (await client.response())[2] == b"laptop"
        async with asyncio.timeout(5):
            assert [await ends.get() for _ in range(3)] == ["clean"] * 3
        assert len(local.connections) == 3
        assert base.connections == []


async def test_a_laptop_lost_before_it_answered_gives_a_get_to_the_base() -> None:
    class Dies(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            assert isinstance(self.transport, Stream)
            self.transport.reset(ConnectFailed("the program died"))

    async with (
        recording_app(says(b"base")) as base,
        tunnel_peer(TOKEN, lambda stream, _: stream.accept(Dies())) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        client.send(GET)
        _, headers, body = await client.response()
        assert body == b"base"
        assert "via=fallback" in headers["lapdev-answered-by"]


async def test_a_local_program_that_closes_without_an_answer_is_a_502_and_no_fallback() -> None:
    async def closes(connection: AppConnection) -> None:
        await connection.read_head()

    async with (
        recording_app(says(b"base")) as base,
        recording_app(closes) as local,
        cloud_with_laptop(local) as peer,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        sidecar.routes.apply(snapshot(intercept(peer.address)))
        client.send(GET)
        status, headers, _ = await client.response()
        assert (status, headers["lapdev-error"]) == (502, "upstream_closed; hop=sidecar")
        assert base.connections == []
