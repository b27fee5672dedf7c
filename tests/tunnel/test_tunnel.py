"""Tunnels over real sockets: streams, calls, cuts, replacement."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from lapdev.tunnel import Stream
from tests.support.tunnel_ends import TARGET, Recorder, connected


def echoing(stream: Stream) -> None:
    stream.accept(Recorder(echo=True))


async def test_what_is_written_at_once_comes_back_and_both_directions_end(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = echoing
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        stream.write(b"hello")
        stream.write_eof()
        await recorder.wait_until(lambda seen: seen.eof)
        assert bytes(recorder.data) == b"hello"
        assert recorder.accepted
        assert ends.acceptor.watcher.streams[0].target == TARGET
        stream.close()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert recorder.lost == [None]


async def test_a_connection_cut_again_and_again_loses_no_byte(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = echoing
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        payload = random.Random(7).randbytes(6_000_000)
        stream.write(payload)
        stream.write_eof()
        for step in range(1, 13):
            await recorder.wait_until(lambda seen: len(seen.data) >= step * 400_000)
            ends.cut()
        await recorder.wait_until(lambda seen: seen.eof)
        assert hashlib.sha256(recorder.data).digest() == hashlib.sha256(payload).digest()
        assert len(ends.watcher.down) >= 10
        assert set(ends.watcher.up[1:]) == {True}
        stream.close()
