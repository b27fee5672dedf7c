"""Tunnels over real sockets: transfers, cuts, calls, endings."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from lapdev.errors import StreamReset, TunnelClosed, TunnelError
from lapdev.tunnel import Stream
from lapdev.wire.control import ReportCluster
from lapdev.wire.mux import MuxOptions
from lapdev.wire.mux.frames import FrameType, encode
from tests.support.tunnel_ends import FAST, TARGET, Ends, Recorder, connected

HELLO = ReportCluster(version="0.1", driver="local")


def echoing(stream: Stream) -> None:
    stream.accept(Recorder(echo=True))


async def transfer_with_cuts(ends: Ends, payload: bytes, cuts: int) -> bytes:
    """What comes back of `payload`, the connection being cut at regular intervals."""
    ends.acceptor.watcher.serve = echoing
    recorder = Recorder()
    stream = ends.tunnel.open_stream(TARGET, recorder)
    stream.write(payload)
    stream.write_eof()
    for point in range(cuts):
        wanted = len(payload) * point // cuts
        await recorder.wait_until(lambda seen, wanted=wanted: len(seen.data) > wanted)  # type: ignore[misc]
        ends.cut()
    await recorder.wait_until(lambda seen: seen.eof)
    stream.close()
    return bytes(recorder.data)


@pytest.mark.slow
async def test_a_connection_cut_again_and_again_loses_no_byte(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        payload = random.Random(7).randbytes(5_000_000)
        back = await transfer_with_cuts(ends, payload, 12)
        assert hashlib.sha256(back).digest() == hashlib.sha256(payload).digest()
        assert len(ends.watcher.down) >= 10
        assert len(ends.acceptor.watcher.down) >= 10
        assert set(ends.watcher.up[1:]) == {True}
        assert not ends.watcher.closed
        assert ends.tunnel.stream_count == 0 or ends.tunnel.connected


@pytest.mark.slow
def test_the_same_on_uvloop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with connected(tmp_path) as ends:
            payload = random.Random(8).randbytes(3_000_000)
            assert await transfer_with_cuts(ends, payload, 6) == payload

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_many_streams_at_once_keep_their_bytes_apart(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = echoing
        rng = random.Random(5)
        sent = [rng.randbytes(rng.randint(1, 30_000)) for _ in range(60)]
        recorders = [Recorder() for _ in sent]
        for recorder, payload in zip(recorders, sent, strict=True):
            stream = ends.tunnel.open_stream(TARGET, recorder)
            stream.write(payload)
            stream.write_eof()
        ends.cut()
        for recorder, payload in zip(recorders, sent, strict=True):
            await recorder.wait_until(lambda seen: seen.eof)
            assert bytes(recorder.data) == payload


async def test_closing_a_tunnel_ends_streams_and_calls_at_both_ends(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher, tunnel = ends.acceptor.watcher, ends.tunnel
        watcher.gate.clear()
        recorder, theirs = Recorder(), Recorder()
        watcher.serve = lambda stream: stream.accept(theirs)
        tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        call = ends.tasks.spawn(failing_call(tunnel.call(HELLO)), "call")
        await watcher.wait_until(lambda seen: bool(seen.calls))
        await tunnel.aclose("enough")
        await tunnel.aclose()
        assert isinstance(recorder.lost[0], TunnelClosed)
        assert isinstance(await call, TunnelClosed)
        await theirs.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(theirs.lost[0], TunnelClosed)
        assert "enough" in str(watcher.closed[0])
        assert not watcher.down, "a session that was closed is not waited for"
        with pytest.raises(TunnelClosed):
            tunnel.open_stream(TARGET, Recorder())
        with pytest.raises(TunnelClosed):
            await tunnel.call(HELLO)


async def failing_call(call: Coroutine[Any, Any, object]) -> Exception:
    with pytest.raises(TunnelError) as caught:
        await call
    return caught.value


async def test_when_the_grace_time_is_over_everything_hears_so(tmp_path: Path) -> None:
    async with connected(tmp_path, replace(FAST, grace=0.05)) as ends:
        recorder = Recorder()
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        await ends.acceptor.stop_listening()
        ends.cut()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], TunnelClosed)
        assert "longer than" in str(recorder.lost[0])
        assert len(ends.watcher.down) == len(ends.watcher.closed) == 1
        assert ends.uplink.tunnel is None
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        assert ends.acceptor.server.tunnels == []


async def test_a_peer_that_breaks_the_protocol_ends_the_session_and_a_new_one_begins(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        recorder, session = Recorder(), ends.tunnel.session
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        websocket = ends.tunnel._links[0].websocket
        websocket.send(encode(FrameType.DATA, 1, 999, b"not in its place"))
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], TunnelClosed)
        await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert ends.watcher.up == [False, False]
        assert ends.tunnel.session != session
        assert "DATA" in str(recorder.lost[0]) or "data at 999" in str(recorder.lost[0])


async def test_a_handler_that_raises_loses_that_stream_and_no_other(tmp_path: Path) -> None:
    def broken(stream: Stream) -> None:
        raise ValueError("bug")

    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = broken
        unlucky = Recorder()
        ends.tunnel.open_stream(TARGET, unlucky)
        await unlucky.wait_until(lambda seen: bool(seen.lost))
        ends.acceptor.watcher.serve = echoing
        lucky = Recorder()
        ends.tunnel.open_stream(TARGET, lucky).write(b"x")
        await lucky.wait_until(lambda seen: seen.data == b"x")


async def test_a_target_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream = ends.tunnel.mux.open({"kind": "anything", "host": "10.0.0.1"})
        recorder = Recorder()
        stream.owner = Stream(ends.tunnel, stream, TARGET, recorder)
        ends.tunnel.mux.write(stream, b"early")
        ends.tunnel.flush_soon()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        error = recorder.lost[0]
        assert isinstance(error, TunnelError)
        assert not isinstance(error, StreamReset)
        assert error.cause == "bad_target"
        assert ends.acceptor.watcher.streams == []


async def test_more_streams_than_a_tunnel_carries_are_an_error_of_the_opener(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path, replace(FAST, mux=MuxOptions(max_streams=2))) as ends:
        for _ in range(2):
            ends.tunnel.open_stream(TARGET, Recorder())
        with pytest.raises(TunnelError, match="2 streams"):
            ends.tunnel.open_stream(TARGET, Recorder())


async def test_a_silent_peer_is_given_up_and_the_session_goes_on_over_a_new_connection(
    tmp_path: Path,
) -> None:
    liveness = replace(FAST.mux.liveness, ping_interval=0.05, dead_timeout=0.05)
    options = replace(FAST, mux=replace(FAST.mux, liveness=liveness))
    async with connected(tmp_path, options) as ends:
        recorder = Recorder()
        ends.acceptor.watcher.serve = echoing
        stream = ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        websocket = ends.acceptor.tunnel._links[0].websocket
        assert websocket._transport is not None
        websocket._transport.pause_reading()  # it hears nothing, and so does not answer
        stream.write(b"are you there?")
        await recorder.wait_until(lambda seen: seen.data == b"are you there?")
        heard = [str(error) for error in ends.watcher.down + ends.acceptor.watcher.down]
        assert "the peer is silent" in heard
        assert ends.watcher.up[1] is True


async def test_a_tunnel_shows_who_it_is(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        theirs = ends.acceptor.tunnel
        assert theirs.identity == ends.acceptor.identity
        assert theirs.instance == "dialler-1"
        assert ends.tunnel.instance == "acceptor"
        assert theirs.session == ends.tunnel.session
        assert "manager:cluster-1 up" in repr(theirs)
        ends.cut()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        assert "down" in repr(ends.tunnel)


async def test_the_peers_process_says_that_it_goes(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        tunnel = ends.tunnel
        assert not tunnel.draining
        await ends.acceptor.server.aclose()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        assert tunnel.draining
        assert ends.acceptor.watcher.closed
