"""What leaves, in which order, and when consumption is told."""

from __future__ import annotations

from lapdev.wire.mux import MuxOptions
from lapdev.wire.mux.frames import FrameType, decode
from tests.support.pair import Pair

TARGET = {"kind": "x"}


def types_of(messages: list[bytes]) -> list[str]:
    return [FrameType(frame[0]).name for message in messages for frame in decode(message)]


def test_control_overtakes_data() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"x" * 200_000)
    pair.dialler.mux.call("Done", {})
    assert types_of(pair.dialler.mux.data_to_send(0))[:3] == ["OPEN", "CALL", "DATA"]


def test_streams_take_turns() -> None:
    pair = Pair()
    first, second = pair.dialler.mux.open(TARGET), pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(first, b"1" * 200_000)
    pair.dialler.mux.write(second, b"2" * 100)
    # A quantum each; once the first is alone with what is left, it goes in one piece.
    assert one_message(pair, 1 << 20) == [(1, 65_536), (3, 100), (1, 200_000 - 65_536)]


def one_message(pair: Pair, data_bytes: int) -> list[tuple[int, int]]:
    """Each DATA frame that leaves: its stream, and how many bytes."""
    frames = [f for m in pair.dialler.mux.data_to_send(0, data_bytes) for f in decode(m)]
    return [(frame[1], len(frame[3])) for frame in frames if frame[0] == FrameType.DATA]


def test_a_stream_that_was_silent_overtakes_those_that_are_busy() -> None:
    pair = Pair()
    bulk = [pair.dialler.mux.open(TARGET) for _ in range(4)]
    for stream in bulk:
        pair.dialler.mux.write(stream, b"b" * 250_000)
    assert [stream for stream, _ in one_message(pair, 5 * 65_536)] == [1, 3, 5, 7, 1]
    sparse = pair.dialler.mux.open(TARGET)
    for _ in range(3):  # again and again, within a round of the others
        pair.dialler.mux.write(sparse, b"request")
        assert one_message(pair, 100)[0] == (sparse.stream_id, 7)


def test_a_stream_that_is_never_silent_long_gets_no_more_than_its_share() -> None:
    pair = Pair(MuxOptions(stream_window=10_000_000))
    steady, greedy = pair.dialler.mux.open(TARGET), pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(steady, b"s" * 8_000_000)
    sent = {1: 0, 3: 0}
    for _ in range(100):  # it has always sent all it has, and so is new each time
        pair.dialler.mux.write(greedy, b"g" * 30_000)
        for stream_id, size in one_message(pair, 40_000):
            sent[stream_id] += size
    assert 0.4 < sent[1] / sum(sent.values()) < 0.6


def test_busy_streams_share_by_bytes_not_by_frames() -> None:
    pair = Pair(MuxOptions(stream_window=10_000_000))
    large, small = pair.dialler.mux.open(TARGET), pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(large, b"l" * 3_000_000)
    for _ in range(300):
        pair.dialler.mux.write(small, b"s" * 10_000)
    sent = {1: 0, 3: 0}
    for _ in range(10):
        for stream_id, size in one_message(pair, 262_144):
            sent[stream_id] += size
    assert abs(sent[1] - sent[3]) <= 2 * 65_536


def test_while_congested_only_control_leaves() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"x")
    assert types_of(pair.dialler.mux.data_to_send(0, 0)) == ["OPEN"]
    assert types_of(pair.dialler.mux.data_to_send(0)) == ["DATA"]


def test_the_owner_hears_when_there_is_room_again() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"x" * 100_000)
    stream.wake_below = 40_000
    pair.dialler.mux.data_to_send(0, 50_000)
    assert pair.dialler.mux.take_writable() == []
    pair.dialler.mux.data_to_send(0, 20_000)
    assert pair.dialler.mux.take_writable() == [stream]
    pair.dialler.mux.data_to_send(0)
    assert pair.dialler.mux.take_writable() == []


def test_consumption_below_an_eighth_is_told_after_a_second_and_frees_the_sender() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"x" * 1_000)
    pair.settle()
    assert stream.acked == 0
    assert pair.acceptor.mux.next_deadline() == 1.0
    pair.advance(1.0)
    pair.settle()
    assert stream.acked == 1_000
    pair.advance(1.0)
    assert pair.acceptor.mux.data_to_send(0) == [], "told once"


def test_a_stream_without_the_sessions_credit_keeps_its_turn_and_lets_an_end_pass() -> None:
    pair = Pair(MuxOptions(stream_window=1_000, session_window=1_000, max_session_window=1_000))
    pair.acceptor.reading = False
    first, second, third = (pair.dialler.mux.open(TARGET) for _ in range(3))
    pair.dialler.mux.write(first, b"1" * 1_000)
    pair.dialler.mux.write(second, b"2" * 500)
    pair.dialler.mux.finish(third)
    pair.settle()
    assert set(pair.acceptor.received) == {1}
    assert pair.acceptor.ended == {5}
    pair.acceptor.reading = True
    pair.acceptor.consume_held()
    pair.settle()
    assert len(pair.acceptor.received[3]) == 500


def test_a_stream_reset_while_it_waited_for_its_turn_sends_nothing_more() -> None:
    pair = Pair()
    first, second = pair.dialler.mux.open(TARGET), pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(first, b"1")
    pair.dialler.mux.write(second, b"2")
    pair.dialler.mux.reset(first, "aborted")
    assert types_of(pair.dialler.mux.data_to_send(0)) == ["OPEN", "OPEN", "RESET", "DATA"]


def test_credit_is_told_once_an_eighth_was_consumed() -> None:
    pair = Pair(MuxOptions(stream_window=8_000))
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"x" * 999)
    pair.settle()
    assert stream.acked == 0
    pair.dialler.mux.write(stream, b"x")
    pair.settle()
    assert stream.acked == 1_000
    assert stream.send_limit == 9_000
