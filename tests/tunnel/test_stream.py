"""A stream is an asyncio transport: writing, reading, half-close, backpressure, endings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.errors import (
    ConnectFailed,
    LapdevError,
    StreamRefused,
    StreamReset,
    TunnelClosed,
    TunnelError,
)
from lapdev.tunnel import Stream
from lapdev.tunnel.stream import FLUSHED_BYTES
from lapdev.wire.control import ReportCluster
from tests.support.tunnel_ends import TARGET, Ends, Recorder, connected

WINDOW = 262_144
HELLO = ReportCluster(version="0.1", driver="local")


async def joined(ends: Ends) -> tuple[Stream, Recorder, Stream, Recorder]:
    """An accepted stream: our end, its protocol, their end, its protocol."""
    ours, theirs = Recorder(), Recorder()
    ends.acceptor.watcher.serve = lambda stream: stream.accept(theirs)
    stream = ends.tunnel.open_stream(TARGET, ours)
    await ours.wait_until(lambda seen: seen.accepted)
    return stream, ours, ends.acceptor.watcher.streams[-1], theirs


async def test_half_close_leaves_the_other_direction_open(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, far, theirs = await joined(ends)
        stream.write(b"question")
        stream.write_eof()
        stream.write_eof()
        await theirs.wait_until(lambda seen: seen.eof)
        assert theirs.data == b"question"
        far.write(b"ans")
        far.write(b"wer")
        far.write_eof()
        await ours.wait_until(lambda seen: seen.eof)
        assert ours.data == b"answer"
        with pytest.raises(RuntimeError):
            stream.write(b"more")
        assert not ours.lost
        stream.close()
        far.close()
        for recorder in (ours, theirs):
            await recorder.wait_until(lambda seen: seen.lost == [None])


async def test_a_protocol_that_does_not_keep_its_end_open_is_closed_with_it(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, far, _ = await joined(ends)
        ours.keep_open = False
        far.write_eof()
        await ours.wait_until(lambda seen: seen.lost == [None])
        assert ours.eof
        assert stream.is_closing()


async def test_close_sends_what_is_written_and_then_the_end(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        stream.write(b"x" * 1_000_000)
        stream.close()
        stream.close()
        stream.write(b"dropped")
        assert not ours.lost, "never inside a call of the protocol"
        await theirs.wait_until(lambda seen: seen.eof)
        assert theirs.data == b"x" * 1_000_000
        await ours.wait_until(lambda seen: seen.lost == [None])


async def test_a_paused_reader_holds_one_window_and_pauses_the_writer(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, far, theirs = await joined(ends)
        far.pause_reading()
        assert not far.is_reading()
        payload = bytes(range(256)) * 8_192  # 2 MiB
        stream.write(payload)
        assert ours.paused
        other, other_ours, _, _ = await joined(ends)
        other.write(b"not stuck behind it")  # and a way to know that all has arrived
        other.close()
        await other_ours.wait_until(lambda seen: bool(seen.lost))
        assert theirs.data == b""
        assert far._mux.received == WINDOW
        assert stream.get_write_buffer_size() == len(payload) - WINDOW
        far.resume_reading()
        await theirs.wait_until(lambda seen: len(seen.data) == len(payload))
        assert theirs.data == payload
        await ours.wait_until(lambda seen: not seen.paused)


async def test_a_writer_that_heeds_pauses_holds_little(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        most = 0
        for _ in range(200):
            await ours.wait_until(lambda seen: not seen.paused)
            stream.write(b"y" * 16_384)
            most = max(most, stream.get_write_buffer_size())
        await theirs.wait_until(lambda seen: len(seen.data) == 200 * 16_384)
        # What is written within one loop tick may leave with it.
        assert most <= 65_536 + FLUSHED_BYTES + 16_384
        assert ours.pauses > 5


async def test_pausing_inside_a_callback_stops_delivery_and_the_end_waits(tmp_path: Path) -> None:
    class OneAtATime(Recorder):
        calls = 0

        def data_received(self, data: bytes) -> None:
            self.calls += 1
            self.transport.pause_reading()
            super().data_received(data)

    async with connected(tmp_path) as ends:
        theirs = OneAtATime()
        ends.acceptor.watcher.serve = lambda stream: stream.accept(theirs)
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        payload = b"a" * 65_536 + b"b" * 65_536
        stream.write(payload)
        stream.write_eof()
        while len(theirs.data) < len(payload):
            calls = theirs.calls + 1
            await theirs.wait_until(lambda _, calls=calls: theirs.calls >= calls)  # type: ignore[misc]
            await asyncio.sleep(0.002)  # whatever else would come
            assert theirs.calls == calls
            assert not theirs.eof
            theirs.transport.resume_reading()
        assert theirs.calls > 2
        assert theirs.data == payload
        await theirs.wait_until(lambda seen: seen.eof)


async def test_a_refusal_has_the_acceptors_cause_and_words(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: stream.refuse(ConnectFailed("port is closed"))
        recorder = Recorder()
        stream = ends.tunnel.open_stream(TARGET, recorder)
        with pytest.raises(StreamRefused, match="port is closed") as caught:
            await stream.wait_accepted()
        assert caught.value.cause == "connect_failed"
        assert recorder.lost == [caught.value]
        with pytest.raises(StreamRefused):
            await stream.wait_accepted()
        stream.write(b"too late")
        stream.close()


async def test_waiting_for_acceptance_ends_when_accepted(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        await asyncio.gather(stream.wait_accepted(), stream.wait_accepted())
        await stream.wait_accepted()
        assert stream.accepted


async def test_waiting_on_a_stream_we_aborted_says_so(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: None
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        stream.abort()
        with pytest.raises(TunnelError):
            await stream.wait_accepted()


async def test_what_comes_before_acceptance_is_kept(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: None
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        stream.write(b"early")
        stream.write_eof()
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        far, theirs = ends.acceptor.watcher.streams[0], Recorder()
        far.accept(theirs)
        assert theirs.data == b"", "not inside accept"
        await theirs.wait_until(lambda seen: seen.eof)
        assert theirs.data == b"early"


async def test_accepting_a_stream_whose_opener_has_gone_ends_at_once(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: None
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        far, theirs = ends.acceptor.watcher.streams[0], Recorder()
        stream.abort()
        await ends.tunnel.aclose()
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        far.accept(theirs)
        await theirs.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(theirs.lost[0], TunnelError)


async def test_closing_a_stream_nobody_accepted_refuses_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: stream.close()
        recorder = Recorder()
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], StreamRefused)


async def test_abort_is_a_reset_for_the_peer_and_no_error_for_us(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        stream.write(b"x")
        stream.abort()
        stream.abort()
        assert not ours.lost
        await theirs.wait_until(lambda seen: bool(seen.lost))
        error = theirs.lost[0]
        assert isinstance(error, StreamReset)
        assert error.cause == "aborted"
        assert ours.lost == [None]


async def test_a_reset_with_a_cause_shows_at_the_other_end(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        stream.reset(LapdevError("the app died"))
        await theirs.wait_until(lambda seen: bool(seen.lost))
        assert str(theirs.lost[0]) == "the app died"
        assert isinstance(ours.lost[0], LapdevError)


async def test_a_peer_that_writes_to_a_closed_stream_is_reset_after_it_got_our_bytes(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        stream, _, far, theirs = await joined(ends)
        stream.write(b"last words")
        stream.close()
        await theirs.wait_until(lambda seen: seen.eof)
        assert theirs.data == b"last words"
        while not theirs.lost:
            far.write(b"who listens?")
            await asyncio.wait_for(theirs.wait_until(lambda seen: True), 1)
            await ends.tunnel.call(HELLO)  # a round trip
        assert isinstance(theirs.lost[0], StreamReset)


async def test_a_protocol_that_raises_loses_its_stream_only(tmp_path: Path) -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ValueError("bug")

        def eof_received(self) -> bool:
            raise ValueError("bug")

    async with connected(tmp_path) as ends:
        for act in (lambda s: s.write(b"x"), lambda s: s.write_eof()):
            ours, theirs = Recorder(), Broken()
            ends.acceptor.watcher.serve = lambda stream, theirs=theirs: stream.accept(theirs)  # type: ignore[misc]
            act(ends.tunnel.open_stream(TARGET, ours))
            await ours.wait_until(lambda seen: bool(seen.lost))
            assert isinstance(ours.lost[0], StreamReset)
            await theirs.wait_until(lambda seen: bool(seen.lost))
        assert ends.tunnel.connected


async def test_while_the_tunnel_is_away_a_stream_waits(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        ends.cut()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        stream.write(b"patience")
        late = Recorder()
        ends.tunnel.open_stream(TARGET, late).write(b"!")
        await theirs.wait_until(lambda seen: b"patience" in seen.data)
        await late.wait_until(lambda seen: seen.accepted)
        assert not ours.lost


async def test_what_a_transport_owes_asyncio(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, theirs = await joined(ends)
        assert stream.get_protocol() is ours
        assert stream.can_write_eof()
        assert stream.get_extra_info("tunnel") is ends.tunnel
        assert stream.get_extra_info("target") == TARGET
        assert stream.get_extra_info("peername", "none") == "none"
        assert stream.get_write_buffer_limits() == (32_768, 65_536)
        stream.set_write_buffer_limits(high=1_000)
        assert stream.get_write_buffer_limits() == (250, 1_000)
        stream.set_write_buffer_limits(low=10)
        assert stream.get_write_buffer_limits() == (10, 40)
        stream.set_write_buffer_limits()
        assert stream.get_write_buffer_limits() == (16_384, 65_536)
        with pytest.raises(ValueError, match="high"):
            stream.set_write_buffer_limits(high=1, low=2)
        successor = Recorder()
        stream.set_protocol(successor)
        stream.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        await theirs.wait_until(lambda seen: seen.data == b"abc")
        stream.close()
        await successor.wait_until(lambda seen: seen.lost == [None])
        assert not ours.lost


async def test_asyncio_streams_work_over_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        stream = ends.tunnel.open_stream(TARGET, protocol)
        writer = asyncio.StreamWriter(stream, protocol, reader, asyncio.get_running_loop())
        writer.write(b"line\n" * 50_000)
        writer.write_eof()
        text = await reader.read()
        assert text == b"line\n" * 50_000
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def test_streams_of_a_closed_tunnel_are_lost(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, ours, _, _ = await joined(ends)
        await ends.tunnel.aclose("enough")
        assert isinstance(ours.lost[0], TunnelClosed)
        stream.write(b"x")
        stream.write_eof()
        stream.close()
        stream.abort()
        stream.resume_reading()
        assert len(ours.lost) == 1


async def test_pieces_nobody_wants_yet_take_little_more_than_their_bytes(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        stream, _, far, theirs = await joined(ends)
        far.pause_reading()
        for n in range(3_000):
            stream.write(bytes((n % 251,)))
            await asyncio.sleep(0)  # each leaves by itself
        await ends.tunnel.call(HELLO)
        assert (sum(map(len, far._held)), len(far._held)) == (3_000, 1)
        far.resume_reading()
        await theirs.wait_until(lambda seen: len(seen.data) == 3_000)
        assert theirs.data == bytes(n % 251 for n in range(3_000))
