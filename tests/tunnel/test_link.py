"""Sessions of several links: lost one by one, all at once, moved, renewed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from lapdev.errors import TunnelClosed, TunnelRefused
from lapdev.net.websocket import WebsocketConnection
from lapdev.tunnel import Stream, TunnelOptions
from lapdev.wire.control import ReportCluster
from lapdev.wire.mux import Welcome
from tests.support.tunnel_ends import FAST, TARGET, Ends, Recorder, connected

SIZE = 300_000
HELLO = ReportCluster(version="0.1", driver="local")


def echoing(stream: Stream) -> None:
    stream.accept(Recorder(echo=True))


@asynccontextmanager
async def linked(folder: Path, links: int, options: TunnelOptions = FAST) -> AsyncIterator[Ends]:
    """A session of so many links, all up at both ends."""
    async with connected(folder, options, links=links) as ends:
        ends.acceptor.watcher.serve = echoing
        await until(ends, lambda: len(ends.acceptor.tunnel.links) == links)
        yield ends


async def until(ends: Ends, condition: Callable[[], bool]) -> None:
    """Asks again after each answered call: what is to happen needs its share of the loop."""
    async with asyncio.timeout(10):
        while not condition():
            await ends.tunnel.call(HELLO)


async def on_each_link(ends: Ends, links: int) -> dict[int, tuple[Stream, Recorder]]:
    """One accepted stream on each link."""
    found: dict[int, tuple[Stream, Recorder]] = {}
    while len(found) < links:
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await stream.wait_accepted()
        found[stream._mux.link] = (stream, recorder)
    return found


async def test_links_share_the_streams_of_one_session(tmp_path: Path) -> None:
    async with linked(tmp_path, 3) as ends:
        assert ends.tunnel.links == (0, 1, 2)
        assert ends.watcher.up == ends.acceptor.watcher.up == [False], "one session, told once"
        assert len(await on_each_link(ends, 3)) == 3


async def test_the_round_trip_of_a_link_is_known_before_anything_is_sent(tmp_path: Path) -> None:
    async with linked(tmp_path, 2) as ends:
        for tunnel in (ends.tunnel, ends.acceptor.tunnel):
            tables = [tunnel.mux.table[number] for number in (0, 1)]
            await until(ends, lambda tables=tables: all(t.round_trip.minimum for t in tables))


async def test_an_acceptor_of_fewer_links_gets_no_more(tmp_path: Path) -> None:
    async with connected(tmp_path, replace(FAST, links=1), links=3) as ends:
        for _ in range(5):
            await ends.tunnel.call(HELLO)
        assert ends.tunnel.links == (0,)
        assert len(ends.acceptor.requests) == 1


async def test_streams_of_a_lost_link_go_on_over_another_without_waiting(tmp_path: Path) -> None:
    async with linked(tmp_path, 2) as ends:
        streams = await on_each_link(ends, 2)
        await ends.acceptor.stop_listening()  # the link does not come back
        with capture_logs() as logs:
            ends.cut(1)
            for stream, recorder in streams.values():
                stream.write(b"goes on")
                await recorder.wait_until(lambda seen: seen.data == b"goes on")
        assert ends.tunnel.links == ends.acceptor.tunnel.links == (0,)
        assert not ends.watcher.down
        assert not ends.acceptor.watcher.down
        lines = [(line["event"], line["link"]) for line in logs if "link" in line]
        assert lines.count(("tunnel_moved", 1)) == 2, "each end says it once"
        assert lines.count(("tunnel_lost", 1)) == 2
        await ends.acceptor.start()
        await until(ends, lambda: ends.acceptor.tunnel.links == (0, 1))


async def test_link_0_may_be_the_lost_one(tmp_path: Path) -> None:
    async with linked(tmp_path, 2) as ends:
        session, streams = ends.tunnel.session, await on_each_link(ends, 2)
        ends.cut(0)
        for stream, recorder in streams.values():
            stream.write(b"x")
            await recorder.wait_until(lambda seen: seen.data == b"x")
        await until(ends, lambda: ends.tunnel.links == ends.acceptor.tunnel.links == (0, 1))
        assert ends.tunnel.session == session
        assert not ends.watcher.down


async def test_all_links_lost_at_once_are_one_loss_and_one_return(tmp_path: Path) -> None:
    async with linked(tmp_path, 3) as ends:
        streams = await on_each_link(ends, 3)
        ends.cut()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        for stream, recorder in streams.values():
            stream.write(b"later")
            await recorder.wait_until(lambda seen: seen.data == b"later")
        await until(ends, lambda: ends.acceptor.tunnel.links == (0, 1, 2))
        assert len(ends.watcher.down) == 1
        assert ends.watcher.up == [False, True]


async def test_a_link_that_is_renewed_loses_nothing_and_is_never_away(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = echoing
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await stream.wait_accepted()
        old = ends.tunnel._links[0].websocket
        stream.write(b"a" * 100_000)
        ends.acceptor.tunnel.renew(0)
        await until(ends, lambda: ends.tunnel._links[0].websocket is not old)
        stream.write(b"b" * 100_000)
        await recorder.wait_until(lambda seen: len(seen.data) == 200_000)
        assert recorder.data == b"a" * 100_000 + b"b" * 100_000
        await old.wait_closed()
        assert not ends.watcher.down
        assert not ends.acceptor.watcher.down


@pytest.mark.parametrize("seed", range(4))
async def test_no_byte_is_lost_whatever_link_is_cut_and_when(tmp_path: Path, seed: int) -> None:
    chance, links = random.Random(seed), 1 + seed
    options = replace(FAST, stream_high_water=1 << 20)
    async with linked(tmp_path, links, options) as ends:
        sent = [chance.randbytes(SIZE) for _ in range(8)]
        recorders = [Recorder() for _ in sent]
        streams = [ends.tunnel.open_stream(TARGET, recorder) for recorder in recorders]
        for data in zip(*[_pieces(chance, whole) for whole in sent], strict=True):
            for stream, piece in zip(streams, data, strict=True):
                stream.write(piece)
            if ends.tunnel.links:
                ends.cut(chance.choice(ends.tunnel.links))
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
        for recorder, whole in zip(recorders, sent, strict=True):
            await recorder.wait_until(lambda seen: len(seen.data) >= SIZE)
            assert recorder.data == whole
        assert not ends.watcher.closed
        for stream in streams:
            stream.close()
        await until(ends, lambda: ends.acceptor.tunnel.stream_count == 0)
        await until(ends, lambda: ends.tunnel.stream_count == 0)


def _pieces(chance: random.Random, whole: bytes) -> list[bytes]:
    cuts = sorted(chance.randrange(len(whole)) for _ in range(19))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


async def test_a_link_that_falls_silent_is_given_up_and_its_streams_go_on(tmp_path: Path) -> None:
    liveness = replace(FAST.mux.liveness, ping_interval=0.05, dead_timeout=0.05)
    options = replace(FAST, mux=replace(FAST.mux, liveness=liveness))
    async with linked(tmp_path, 2, options) as ends:
        streams = await on_each_link(ends, 2)
        websocket = ends.acceptor.tunnel._links[1].websocket
        assert websocket._transport is not None
        websocket._transport.pause_reading()  # it hears nothing, and so does not answer
        for stream, recorder in streams.values():
            stream.write(b"are you there?")
            await recorder.wait_until(lambda seen: seen.data == b"are you there?")
        assert not ends.watcher.down
        await until(ends, lambda: ends.acceptor.tunnel.links == (0, 1))


async def test_a_connection_lost_while_the_next_is_dialled_asks_for_no_third(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        acceptor = ends.acceptor
        acceptor.welcoming = lambda: ends.cut(0)
        acceptor.tunnel.renew(0)
        await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
        await ends.tunnel.call(HELLO)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # several times the longest pause
                await acceptor.requested.until(lambda: len(acceptor.requests) > 2)


async def test_a_welcome_that_is_not_this_sessions_carries_no_link_of_it(tmp_path: Path) -> None:
    async with connected(tmp_path, links=2) as ends:
        await until(ends, lambda: ends.tunnel.links == (0, 1))
        dialler, tunnel = ends.uplink._diallers[0], ends.tunnel
        welcome = Welcome(tunnel.instance, tunnel.session, True, 1, 1, 1, 1, 2)
        unused = cast(WebsocketConnection, None)
        with pytest.raises(TunnelRefused, match="another process"):
            dialler._welcomed(1, unused, replace(welcome, instance="restarted"))
        with pytest.raises(TunnelClosed, match="while it was being resumed"):
            dialler._welcomed(1, unused, replace(welcome, session="older"))
        assert ends.tunnel is tunnel
        assert tunnel.links == (0, 1)
