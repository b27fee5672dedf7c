"""Streams joined to local connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import lapdev.tunnel.forward as forward
from lapdev.errors import ConnectFailed, StreamRefused, TunnelClosed
from lapdev.net.listener import dial, listen
from lapdev.net.relay import Relay
from lapdev.tunnel import Inlet, Stream, outlet
from lapdev.wire.control import ReportCluster
from tests.support.tunnel_ends import TARGET, Ends, Recorder, connected
from tests.support.watch import Watch

Factory = Callable[[], asyncio.Protocol]
Dialled = tuple[asyncio.Transport, asyncio.Protocol]
HELLO = ReportCluster(version="0.1", driver="local")


def serve_by(
    ends: Ends, dialler: forward.Dial, on_done: Callable[[Relay], None] | None = None
) -> None:
    def serve(stream: Stream) -> None:
        ends.tasks.spawn(outlet(stream, dialler, on_done), "outlet")

    ends.acceptor.watcher.serve = serve


def dialler_of(address: str) -> forward.Dial:
    async def connect(factory: Factory) -> Dialled:
        return await dial(address, factory)

    return connect


async def test_a_local_program_talks_to_a_service_through_the_tunnel(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        done: list[Relay] = []
        parted, app_end = Watch(), Recorder(echo=True)

        def part(relay: Relay) -> None:
            done.append(relay)
            parted()

        serve_by(ends, dialler_of(f"unix:{tmp_path}/app"), part)
        app = await listen(f"unix:{tmp_path}/app", lambda: app_end)
        near = await listen(f"unix:{tmp_path}/near", lambda: Inlet(ends.tunnel, TARGET))
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/near")
        payload = b"0123456789" * 60_000
        writer.write(payload)
        writer.write_eof()
        ends.cut()
        assert await reader.read() == payload
        writer.close()
        await writer.wait_closed()
        await parted.until(lambda: done)
        await app_end.wait_until(lambda seen: bool(seen.lost))
        assert done[0].bytes_from_a == done[0].bytes_from_b == len(payload)
        await near.aclose()
        await app.aclose()


async def test_a_service_that_speaks_first_is_heard(tmp_path: Path) -> None:
    class Greeter(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.write(b"220 ready\r\n")
            self.transport.close()

    async with connected(tmp_path) as ends:
        serve_by(ends, dialler_of(f"unix:{tmp_path}/app"))
        app = await listen(f"unix:{tmp_path}/app", Greeter)
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.eof)
        assert recorder.data == b"220 ready\r\n"
        stream.close()
        await app.aclose()


async def test_a_service_that_is_not_there_refuses_the_stream(tmp_path: Path) -> None:
    async def failing(factory: Factory) -> Dialled:
        raise ConnectionRefusedError(111, "Connection refused")

    async with connected(tmp_path) as ends:
        for dialler in (dialler_of(f"unix:{tmp_path}/nobody"), failing):
            serve_by(ends, dialler)
            stream = ends.tunnel.open_stream(TARGET, Recorder())
            with pytest.raises(StreamRefused) as caught:
                await stream.wait_accepted()
            assert caught.value.cause == ConnectFailed.cause


async def test_a_service_that_does_not_answer_in_time_refuses_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(factory: Factory) -> Dialled:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(forward, "CONNECT_TIMEOUT", 0.02)
    async with connected(tmp_path) as ends:
        serve_by(ends, hanging)
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        with pytest.raises(StreamRefused) as caught:
            await stream.wait_accepted()
        assert caught.value.cause == "connect_timeout"


async def test_an_outlet_that_is_cancelled_resets_its_stream(tmp_path: Path) -> None:
    async def hanging(factory: Factory) -> Dialled:
        await asyncio.Event().wait()
        raise AssertionError

    async with connected(tmp_path) as ends:
        tasks: list[asyncio.Task[None]] = []
        ends.acceptor.watcher.serve = lambda stream: tasks.append(
            ends.tasks.spawn(outlet(stream, hanging), "outlet")
        )
        recorder = Recorder()
        ends.tunnel.open_stream(TARGET, recorder)
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        tasks[0].cancel()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], StreamRefused)


async def test_an_opener_that_left_while_we_dialled_leaves_no_connection(tmp_path: Path) -> None:
    gate = asyncio.Event()
    service = Recorder(keep_open=False)

    async with connected(tmp_path) as ends:
        app = await listen(f"unix:{tmp_path}/app", lambda: service)

        async def slow(factory: Factory) -> Dialled:
            await gate.wait()
            return await dial(f"unix:{tmp_path}/app", factory)

        serve_by(ends, slow)
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        far = ends.acceptor.watcher.streams[0]
        stream.abort()
        await ends.tunnel.call(HELLO)  # the reset has arrived when the answer is here
        assert far.is_closing()
        gate.set()
        await service.wait_until(lambda seen: bool(seen.lost))
        await app.aclose()


async def test_a_tunnel_that_ends_takes_its_connections_along(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        service = Recorder(keep_open=False)
        app = await listen(f"unix:{tmp_path}/app", lambda: service)
        serve_by(ends, dialler_of(f"unix:{tmp_path}/app"))
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        stream.write(b"x")
        await service.wait_until(lambda seen: bool(seen.data))
        await ends.tunnel.aclose()
        await service.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], TunnelClosed)
        await app.aclose()


async def test_a_local_connection_without_a_tunnel_is_dropped(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        tunnel = ends.tunnel
        await tunnel.aclose()
        near = await listen(f"unix:{tmp_path}/near", lambda: Inlet(tunnel, TARGET))
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/near")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await near.aclose()
