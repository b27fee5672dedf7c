"""A process that stops: what is in flight ends in peace, what is new goes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lapdev.errors import TunnelClosed
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.tunnel.dialler import MOST_DRAIN
from lapdev.wire.control import Done, ReportCluster
from tests.support.tunnel_ends import FAST, TARGET, Acceptor, Ends, Recorder, connected

HELLO = ReportCluster(version="0.1", driver="local")


def echoing(stream: Stream) -> None:
    stream.accept(Recorder(echo=True))


@asynccontextmanager
async def successor(ends: Ends) -> AsyncIterator[Acceptor]:
    """A second process takes the first one's listener."""
    await ends.acceptor.stop_listening()
    second = Acceptor(ends.acceptor.address, FAST, "acceptor-2")
    await second.start()
    try:
        yield second
    finally:
        await ends.tasks.aclose()
        await second.aclose()


async def test_the_next_session_is_open_before_the_draining_one_is_over(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        ends.acceptor.watcher.serve = echoing
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await stream.wait_accepted()
        old = ends.tunnel
        async with successor(ends) as second:
            draining = tasks.spawn(ends.acceptor.server.drain(5.0), "drain")
            await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
            assert ends.watcher.up == [False, False]
            assert not ends.watcher.down, "at no moment there was no tunnel"
            assert ends.tunnel is not old
            assert ends.tunnel.instance == "acceptor-2"
            assert ends.tunnel.session != old.session
            assert old.connected
            assert old.draining
            assert not ends.tunnel.draining
            stream.write(b"still here")
            await recorder.wait_until(lambda seen: seen.data == b"still here")
            assert not draining.done()
            stream.write_eof()
            await recorder.wait_until(lambda seen: seen.eof)
            stream.close()
            await draining
            assert recorder.lost == [None]
            await ends.watcher.wait_until(lambda seen: bool(seen.closed))
            assert not ends.watcher.down, "it was closed, not lost"
            assert len(second.server.tunnels) == 1
            assert await ends.tunnel.call(HELLO) == Done()


async def test_what_has_not_ended_when_the_drain_time_is_over_is_reset(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        recorder = Recorder()
        await ends.tunnel.open_stream(TARGET, recorder).wait_accepted()
        await ends.acceptor.stop_listening()
        await ends.acceptor.server.drain(0.05)
        assert ends.acceptor.server.tunnels == []
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], TunnelClosed)
        assert "stopping" in str(recorder.lost[0])


async def test_a_draining_process_begins_no_session_and_resumes_those_it_has(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await stream.wait_accepted()
        draining = tasks.spawn(ends.acceptor.server.drain(5.0), "drain")
        failures = asyncio.Event()
        ends.uplink.on_failed = lambda _error: failures.set()
        await failures.wait()  # the listener is still there, and sends the next session away
        assert len(ends.acceptor.server.tunnels) == 1
        assert ends.tunnel.connected, "the old session serves until there is another"
        stream.abort()
        await draining


async def test_the_dialling_end_drains_before_it_stops(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        recorder = Recorder()
        stream = ends.acceptor.tunnel.open_stream(TARGET, recorder)
        await stream.wait_accepted()
        draining = tasks.spawn(ends.uplink.drain(5.0), "drain")
        while not ends.acceptor.tunnel.draining:
            await ends.acceptor.tunnel.call(HELLO)  # whatever comes after GOAWAY
        assert ends.tunnel.connected, "it stays for what is in flight"
        assert not draining.done()
        stream.abort()
        await draining
        await ends.tasks.aclose()
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        assert not ends.acceptor.watcher.down


async def test_a_connection_lost_while_its_process_stops_ends_the_session_at_once(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        recorder = Recorder()
        await ends.tunnel.open_stream(TARGET, recorder).wait_accepted()
        await ends.acceptor.stop_listening()
        old = ends.tunnel
        ends.acceptor.server.go_away(30.0)
        await ends.tunnel.call(HELLO)
        assert old.draining
        ends.cut()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert "stopping" in str(recorder.lost[0])
        assert old.closed


async def test_a_peer_that_always_says_it_stops_gets_no_session_each_time(tmp_path: Path) -> None:
    # The first time the next session is begun at once, then after a pause of up to an hour.
    options = replace(FAST, retry_first=3_600.0, retry_most=3_600.0)
    async with connected(tmp_path, options, wait=False) as ends:
        watcher = ends.acceptor.watcher
        watcher.on_up = lambda tunnel: tunnel.go_away(1e9, "again")
        await watcher.wait_until(lambda seen: len(seen.up) == 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await watcher.wait_until(lambda seen: len(seen.up) == 3)
        assert ends.uplink._diallers[0]._drain_seconds == MOST_DRAIN


async def test_a_stream_that_was_on_its_way_when_the_other_end_began_to_stop_is_served(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path, links=2) as ends, Tasks() as tasks:
        while len(ends.tunnel.links) < 2:
            await ends.tunnel.call(HELLO)
        ends.watcher.serve = echoing
        ways = [link.websocket._transport for link in ends.tunnel._links.values()]
        for way in ways:
            assert way is not None
            way.pause_reading()
        opened = []
        for _ in range(2):
            recorder = Recorder()
            opened.append((ends.acceptor.tunnel.open_stream(TARGET, recorder), recorder))
            opened[-1][0].write(b"hello")
        heard = asyncio.Event()
        ends.acceptor.server.on_draining = lambda _: heard.set()
        draining = tasks.spawn(ends.uplink.drain(5.0), "drain")
        await heard.wait()
        assert not draining.done()
        for way in ways:
            assert way is not None
            way.resume_reading()
        for stream, recorder in opened:
            await recorder.wait_until(lambda seen: seen.data == b"hello" or bool(seen.lost))
            assert not recorder.lost
            assert not draining.done()
            stream.write_eof()
            await recorder.wait_until(lambda seen: seen.eof)
            stream.close()
        await draining
