"""Datagrams: whole, in order, at once or never."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.mux import MuxStream
from lapdev.wire.mux.events import DatagramReceived, StreamEnded
from lapdev.wire.mux.frames import MAX_DATAGRAM_BYTES, FrameType, decode, encode
from lapdev.wire.mux.stream import DATAGRAM_COST, MAX_QUEUED_DATAGRAMS
from tests.support.pair import End, Pair

TARGET = {"kind": "x"}


def arrived(end: End) -> list[bytes]:
    return [e.data for e in end.events if isinstance(e, DatagramReceived)]


def with_stream() -> tuple[Pair, MuxStream, MuxStream]:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    return pair, stream, pair.acceptor.opened[0]


def test_datagrams_travel_both_ways_beside_the_streams_bytes() -> None:
    pair, stream, theirs = with_stream()
    for data in (b"", b"a" * 300, b"b" * MAX_DATAGRAM_BYTES):
        pair.dialler.mux.send_datagram(stream, data)
        pair.acceptor.mux.send_datagram(theirs, data)
    pair.dialler.mux.write(stream, b"bytes")
    pair.settle()
    for end in pair.ends():
        assert [len(data) for data in arrived(end)] == [0, 300, MAX_DATAGRAM_BYTES]
    assert pair.acceptor.received == {1: bytearray(b"bytes")}
    assert pair.acceptor.mux.session.received == 5, "they count for no credit"


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    pair, stream, _ = with_stream()
    pair.dialler.mux.pause(0)
    for n in range(1_000):
        pair.dialler.mux.send_datagram(stream, n.to_bytes(4, "big") + bytes(996))
    pair.settle()
    assert arrived(pair.acceptor) == []
    pair.dialler.mux.resume(0)
    pair.settle()
    numbers = [int.from_bytes(data[:4], "big") for data in arrived(pair.acceptor)]
    kept = MAX_QUEUED_DATAGRAMS // (1_000 + DATAGRAM_COST)
    assert numbers == list(range(1_000 - kept, 1_000))
    for _ in range(5_000):
        pair.dialler.mux.send_datagram(stream, b"")
    pair.settle()
    empty = sum(not data for data in arrived(pair.acceptor))
    assert empty == MAX_QUEUED_DATAGRAMS // DATAGRAM_COST, "empty ones are not free"


def test_lost_ones_are_lost_and_later_ones_go_on_over_another_link() -> None:
    pair, stream, _ = with_stream()
    pair.dialler.mux.send_datagram(stream, b"lost")
    pair.flush(pair.dialler)
    pair.cut()
    pair.dialler.mux.send_datagram(stream, b"waits")
    pair.connect()
    pair.settle()
    assert arrived(pair.acceptor) == [b"waits"]


def test_control_goes_first_and_data_has_its_turns() -> None:
    pair, stream, _ = with_stream()
    bulk = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(bulk, bytes(262_144))
    for _ in range(200):
        pair.dialler.mux.send_datagram(stream, bytes(1_000))
    pair.dialler.mux.call("Done", {})
    frames = [f for m in pair.dialler.mux.data_to_send(0) for f in decode(m)]
    kinds = [frame[0] for frame in frames]
    assert kinds[:2] == [FrameType.OPEN, FrameType.CALL]
    datagrams = kinds.count(FrameType.DATAGRAM)
    assert 60 <= datagrams <= 140, "a round each"


def test_datagrams_before_acceptance_arrive_after_the_open() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.send_datagram(stream, b"first")
    pair.settle()
    assert arrived(pair.acceptor) == [b"first"]


def test_a_stream_that_ends_takes_no_more_and_what_crosses_is_ignored() -> None:
    pair, stream, theirs = with_stream()
    pair.acceptor.mux.send_datagram(theirs, b"crosses")
    pair.flush(pair.acceptor)
    pair.dialler.mux.reset(stream, "aborted")
    pair.dialler.mux.send_datagram(stream, b"late")
    pair.settle()
    pair.acceptor.mux.send_datagram(theirs, b"later")
    pair.settle()
    assert arrived(pair.dialler) == arrived(pair.acceptor) == []
    assert pair.acceptor.happened(StreamEnded)
    assert pair.acceptor.mux.receive_data(0, encode(FrameType.DATAGRAM, 77, b"stray")) == []
    assert pair.acceptor.mux.data_to_send(0) == []


def test_one_that_is_too_large_is_refused_at_both_ends() -> None:
    pair, stream, _ = with_stream()
    with pytest.raises(LocalProtocolError, match="65508"):
        pair.dialler.mux.send_datagram(stream, bytes(MAX_DATAGRAM_BYTES + 1))
    with pytest.raises(RemoteProtocolError, match="bad bytes"):
        decode(encode(FrameType.DATAGRAM, 1, bytes(MAX_DATAGRAM_BYTES + 1)))
