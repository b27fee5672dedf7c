"""When a session's messages leave."""

from __future__ import annotations

import asyncio
from pathlib import Path

import uvloop

from tests.support.tunnel_ends import TARGET, Recorder, connected


def test_on_uvloop_a_deadline_that_has_passed_is_armed_like_any_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with connected(tmp_path) as ends:
            # A timer without delay is no TimerHandle there.
            ends.tunnel.mux.heard(0, 0.0)
            ends.tunnel.flush.now()
            ends.tunnel.flush.now()
            stream = ends.tunnel.open_stream(TARGET, Recorder())
            await stream.wait_accepted()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_writer_is_not_paused_by_what_leaves_with_the_loop_tick(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream = ends.tunnel.open_stream(TARGET, recorder := Recorder())
        await stream.wait_accepted()
        stream.write(b"x" * 200_000)
        assert stream.get_write_buffer_size() == 200_000
        await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 0
        assert recorder.pauses == 0


async def test_a_writer_is_paused_when_too_much_is_left_after_the_flush(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        theirs = Recorder()
        ends.acceptor.watcher.serve = lambda stream: stream.accept(theirs)
        stream = ends.tunnel.open_stream(TARGET, recorder := Recorder())
        await stream.wait_accepted()
        theirs.transport.pause_reading()
        stream.write(b"x" * 200_000)
        await asyncio.sleep(0.05)
        stream.write(b"x" * 150_000)  # more than the window still takes
        assert recorder.pauses == 0
        await asyncio.sleep(0)
        assert recorder.paused
        theirs.transport.resume_reading()
        await recorder.wait_until(lambda seen: not seen.paused)
        await theirs.wait_until(lambda seen: len(seen.data) == 350_000)


async def test_without_a_connection_a_writer_is_paused_at_once(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream = ends.tunnel.open_stream(TARGET, recorder := Recorder())
        await stream.wait_accepted()
        await ends.acceptor.stop_listening()
        ends.cut()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        stream.write(b"x" * 70_000)
        assert recorder.paused


async def test_waiting_ends_when_something_has_changed(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        waiting = asyncio.gather(ends.tunnel.flush.until(lambda: not ends.tunnel.stream_count))
        await stream.wait_accepted()
        assert not waiting.done()
        stream.abort()
        async with asyncio.timeout(5):
            await waiting
