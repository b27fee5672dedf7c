"""Two ends of a session talk: streams, credit, calls, time. Without sockets."""

from __future__ import annotations

import random

import pytest

from lapdev.errors import LocalProtocolError
from lapdev.wire.mux import LivenessOptions, MuxConnection, MuxOptions
from lapdev.wire.mux.events import (
    CallReceived,
    ConnectionDead,
    DataReceived,
    EofReceived,
    GoAwayReceived,
    ReplyReceived,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
)
from lapdev.wire.mux.frames import FrameType, decode, encode
from lapdev.wire.mux.stream import MAX_DISCARDED
from tests.support.pair import Pair

SMALL = MuxOptions(stream_window=1_000, session_window=10_000, max_session_window=10_000)
TARGET = {"kind": "service", "namespace": "shop", "service": "api", "port": 80}


def types_of(messages: list[bytes]) -> list[str]:
    return [FrameType(frame[0]).name for message in messages for frame in decode(message)]


def test_open_and_the_first_data_leave_in_one_message() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"GET / HTTP/1.1\r\n\r\n")
    messages = pair.dialler.mux.data_to_send(0)
    assert len(messages) == 1
    assert types_of(messages) == ["OPEN", "DATA"]
    pair.acceptor.take(pair.acceptor.mux.receive_data(0, messages[0]))
    opened, data = pair.acceptor.events
    assert isinstance(opened, StreamOpened)
    assert isinstance(data, DataReceived)
    assert opened.target == TARGET
    assert data.data == b"GET / HTTP/1.1\r\n\r\n"


def test_a_whole_dialogue_leaves_nothing_behind() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"question")
    pair.dialler.mux.finish(stream)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.mux.write(theirs, b"answer")
    pair.acceptor.mux.finish(theirs)
    pair.settle()
    assert pair.acceptor.received == {1: bytearray(b"question")}
    assert pair.dialler.received == {1: bytearray(b"answer")}
    assert pair.dialler.ended == pair.acceptor.ended == {1}
    assert pair.dialler.happened(StreamAccepted)
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams


def test_the_dialler_opens_odd_streams_and_the_acceptor_even_ones() -> None:
    pair = Pair()
    assert [pair.dialler.mux.open(TARGET).stream_id for _ in range(2)] == [1, 3]
    assert [pair.acceptor.mux.open(TARGET).stream_id for _ in range(2)] == [2, 4]
    pair.settle()
    assert [stream.stream_id for stream in pair.acceptor.opened] == [1, 3]
    assert [stream.stream_id for stream in pair.dialler.opened] == [2, 4]


def test_row_63_a_reader_that_stops_holds_one_window_and_nobody_else() -> None:
    pair = Pair(SMALL)
    stuck, busy = pair.dialler.mux.open(TARGET), pair.dialler.mux.open(TARGET)
    pair.acceptor.reading = False
    pair.dialler.mux.write(stuck, b"s" * 50_000)
    pair.settle()
    assert len(pair.acceptor.received[1]) == 1_000
    assert stuck.unsent_bytes == 49_000
    pair.acceptor.reading = True
    pair.dialler.mux.write(busy, b"b" * 100_000)
    pair.settle()
    assert len(pair.acceptor.received[3]) == 100_000
    assert len(pair.acceptor.received[1]) == 1_000


def test_a_reader_that_goes_on_gets_the_rest() -> None:
    pair = Pair(SMALL)
    stream = pair.dialler.mux.open(TARGET)
    payload = random.Random(1).randbytes(20_000)
    pair.acceptor.reading = False
    pair.dialler.mux.write(stream, payload)
    while len(pair.acceptor.received.get(1, b"")) < len(payload):
        pair.settle()
        pair.acceptor.consume_held()
    assert bytes(pair.acceptor.received[1]) == payload


def test_the_sessions_window_bounds_all_streams_together() -> None:
    pair = Pair(SMALL)
    pair.acceptor.reading = False
    for _ in range(30):
        pair.dialler.mux.write(pair.dialler.mux.open(TARGET), b"x" * 1_000)
    pair.settle()
    assert sum(len(data) for data in pair.acceptor.received.values()) == 10_000
    pair.acceptor.reading = True
    pair.acceptor.consume_held()
    pair.settle()
    assert sum(len(data) for data in pair.acceptor.received.values()) == 30_000


def test_a_refused_stream_says_why_and_both_ends_forget_it() -> None:
    pair = Pair()
    pair.acceptor.accepting = False
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"early")
    pair.settle()
    pair.acceptor.mux.reset(pair.acceptor.opened[0], "connect_failed", "nobody listens")
    pair.settle()
    (ended,) = pair.dialler.happened(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert (ended.cause, ended.detail, ended.refused) == ("connect_failed", "nobody listens", True)
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert pair.acceptor.mux.pending == 0
    assert pair.acceptor.mux.session.consumed == 5, "what nobody will read is paid back"


def test_a_reset_after_acceptance_is_no_refusal_and_crosses_with_data() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.mux.write(theirs, b"under way")
    pair.flush(pair.acceptor)
    pair.dialler.mux.reset(stream, "aborted", "the browser left")
    pair.settle()
    (ended,) = pair.acceptor.happened(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert (ended.cause, ended.refused) == ("aborted", False)
    assert pair.dialler.received == {}
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert pair.dialler.mux.session.consumed == pair.dialler.mux.session.received == 9


def test_both_ends_reset_at_once() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.dialler.mux.reset(stream, "aborted")
    pair.acceptor.mux.reset(pair.acceptor.opened[0], "aborted")
    pair.dialler.mux.reset(stream, "again")
    pair.settle()
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert not pair.dialler.happened(StreamEnded)
    assert not pair.acceptor.happened(StreamEnded)


def test_a_reset_that_crosses_with_the_peers_last_word_leaves_nothing_behind() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.acceptor.mux.finish(pair.acceptor.opened[0])
    pair.dialler.mux.finish(stream)
    for end in (pair.acceptor, pair.dialler):
        pair.flush(end)
    for end in (pair.acceptor, pair.dialler):
        pair.deliver(end)
    for end in (pair.acceptor, pair.dialler):
        pair.flush(end)  # each says that it has seen the other's end
    pair.dialler.mux.reset(stream, "aborted")
    pair.settle()
    assert not pair.acceptor.happened(StreamEnded)
    assert not pair.acceptor.mux.streams
    assert not pair.dialler.mux.streams


def test_a_reset_is_answered_also_by_who_has_both_ends_and_only_not_read_them() -> None:
    pair = Pair()
    pair.acceptor.reading = False
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"question")
    pair.dialler.mux.finish(stream)
    pair.settle()
    far = pair.acceptor.opened[0]
    pair.acceptor.mux.finish(far)
    pair.settle()
    assert (far.fin_acked, far.final, far.consumed) == (True, 8, 0)
    pair.dialler.mux.reset(stream, "aborted")
    pair.settle()
    assert pair.acceptor.happened(StreamEnded)
    assert not pair.dialler.mux.streams, "the reset has its answer"
    assert not pair.acceptor.mux.streams
    assert pair.acceptor.mux.session.held == 0


def test_row_62_streams_that_nobody_accepts_are_refused_past_256() -> None:
    peer = MuxConnection(dialler=False, options=MuxOptions())
    peer.attach(0, 0.0, resumed=False)
    many = b"".join(encode(FrameType.OPEN, 2 * n + 1, {}, 0) for n in range(300))
    opened = [e.stream for e in peer.receive_data(0, many) if isinstance(e, StreamOpened)]
    assert len(opened) == 256
    refusals = [frame for message in peer.data_to_send(0) for frame in decode(message)]
    assert [frame[3] for frame in refusals] == ["too_many_pending"] * 44
    for stream in opened:
        peer.accept(stream)
    assert len(peer.receive_data(0, encode(FrameType.OPEN, 1001, {}, 0))) == 1


def test_more_streams_than_may_be_pending_wait_at_their_opener_and_all_of_them_come() -> None:
    pair = Pair()
    pair.acceptor.accepting = False
    streams = [pair.dialler.mux.open({**TARGET, "port": 80 + n % 2}) for n in range(600)]
    for stream in streams:
        pair.dialler.mux.write(stream, b"%d" % stream.stream_id)
    for stream in streams[400:500]:
        pair.dialler.mux.reset(stream, "aborted")
    for stream in streams[500:]:
        pair.dialler.mux.finish(stream)
    pair.settle()
    assert len(pair.acceptor.opened) == 256
    pair.cut()
    pair.connect()
    pair.settle()
    assert len(pair.acceptor.opened) == 256
    pair.acceptor.mux.reset(pair.acceptor.opened[0], "busy")
    for stream in pair.acceptor.opened[1:]:
        pair.acceptor.mux.accept(stream)
    pair.acceptor.accepting = True
    pair.settle()
    opened = {stream.stream_id for stream in pair.acceptor.opened}
    assert opened == {stream.stream_id for stream in (*streams[:400], *streams[500:])}
    assert all(content == b"%d" % number for number, content in pair.acceptor.received.items())
    assert pair.acceptor.ended == {stream.stream_id for stream in streams[500:]}
    assert len(pair.dialler.happened(StreamEnded)) == 1


def test_row_62_streams_past_the_limit_are_refused_and_our_own_are_not_begun() -> None:
    pair = Pair(MuxOptions(max_streams=10))
    for _ in range(10):
        pair.dialler.mux.open(TARGET)
    with pytest.raises(LocalProtocolError, match="10 streams"):
        pair.dialler.mux.open(TARGET)
    peer = MuxConnection(dialler=False, options=MuxOptions(max_streams=10))
    peer.attach(0, 0.0, resumed=False)
    many = b"".join(encode(FrameType.OPEN, 2 * n + 1, {}, 0) for n in range(12))
    assert len(peer.receive_data(0, many)) == 10
    refusals = [frame for message in peer.data_to_send(0) for frame in decode(message)]
    assert [(frame[1], frame[3]) for frame in refusals] == [
        (21, "too_many_streams"),
        (23, "too_many_streams"),
    ]


def test_accepting_a_stream_that_is_gone_does_nothing() -> None:
    pair = Pair()
    pair.acceptor.accepting = False
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.dialler.mux.reset(stream, "aborted")
    pair.settle()
    pair.acceptor.mux.accept(pair.acceptor.opened[0])
    assert pair.acceptor.mux.data_to_send(0) == []
    assert pair.acceptor.mux.pending == 0


def test_an_end_that_stopped_reading_lets_its_own_bytes_arrive_then_resets() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"last words")
    pair.dialler.mux.discard(stream)
    pair.dialler.mux.finish(stream)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    assert pair.acceptor.received[1] == b"last words"
    assert not pair.acceptor.happened(StreamEnded)
    pair.acceptor.mux.write(theirs, b"who listens?")
    pair.settle()
    (ended,) = pair.acceptor.happened(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert ended.cause == "closed"
    assert not pair.dialler.happened(DataReceived)
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams


def test_an_end_that_stopped_reading_meets_the_peers_end_without_a_reset() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.acceptor.mux.write(pair.acceptor.opened[0], b"crosses with our end")
    pair.dialler.mux.discard(stream)
    pair.dialler.mux.finish(stream)
    pair.flush(pair.acceptor)
    pair.settle()
    pair.acceptor.mux.finish(pair.acceptor.opened[0])
    pair.settle()
    assert not pair.acceptor.happened(StreamEnded)
    assert not pair.dialler.happened(EofReceived)
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams


def test_two_ends_that_close_with_more_to_send_than_the_others_limit_are_both_heard_out() -> None:
    pair = Pair(SMALL)
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.dialler.mux.write(stream, b"x" * 5_000)
    pair.acceptor.mux.write(theirs, b"y" * 5_000)
    pair.settle()
    for end, one in ((pair.dialler, stream), (pair.acceptor, theirs)):
        end.mux.discard(one)
        end.mux.finish(one)
    pair.settle()
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert not pair.dialler.happened(StreamEnded)
    assert not pair.acceptor.happened(StreamEnded)


def test_a_peer_that_sends_and_sends_and_does_not_read_is_reset_after_a_while() -> None:
    pair = Pair(SMALL)
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.reading = False
    pair.dialler.mux.write(stream, b"unread" * 1_000)
    pair.dialler.mux.discard(stream)
    pair.dialler.mux.finish(stream)
    sent = 0
    while not pair.acceptor.happened(StreamEnded):
        assert sent <= MAX_DISCARDED + 2 * 65_536
        pair.acceptor.mux.write(theirs, b"z" * 65_536)
        sent += 65_536
        pair.settle()
    assert sent > MAX_DISCARDED
    assert not pair.dialler.mux.streams


def test_a_peer_stuck_with_what_nobody_reads_is_freed_by_a_reset() -> None:
    pair = Pair(SMALL)
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.acceptor.mux.write(pair.acceptor.opened[0], b"x" * 5_000)
    pair.dialler.mux.discard(stream)
    pair.dialler.mux.finish(stream)
    pair.flush(pair.acceptor)
    pair.deliver(pair.acceptor, 9)
    pair.settle()
    (ended,) = pair.acceptor.happened(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert ended.cause == "closed"
    assert not pair.acceptor.mux.streams


def test_what_arrived_before_reading_stopped_is_dropped_too() -> None:
    pair = Pair(SMALL)
    pair.dialler.reading = False
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.mux.write(theirs, b"x" * 5_000)
    pair.acceptor.mux.finish(theirs)
    pair.settle()
    pair.dialler.mux.finish(stream)
    pair.dialler.mux.discard(stream)
    pair.settle()
    assert pair.dialler.mux.session.consumed == pair.dialler.mux.session.received
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams


def test_a_call_is_answered() -> None:
    pair = Pair()
    call_id = pair.acceptor.mux.call("Name", {"x": 1})
    pair.settle()
    (call,) = pair.dialler.happened(CallReceived)
    assert isinstance(call, CallReceived)
    assert (call.name, call.body) == ("Name", {"x": 1})
    pair.dialler.mux.reply(call.call_id, False, {"cause": "not_ready"})
    pair.settle()
    assert pair.acceptor.happened(ReplyReceived) == [
        ReplyReceived(call_id, False, {"cause": "not_ready"})
    ]


def test_a_call_is_repeated_on_the_next_connection_and_its_answer_comes_once() -> None:
    pair = Pair()
    pair.dialler.mux.call("Name", {})
    pair.flush(pair.dialler)
    pair.cut()
    pair.connect()
    pair.settle()
    (call,) = pair.acceptor.happened(CallReceived)
    assert isinstance(call, CallReceived)
    pair.cut()
    pair.connect()
    pair.settle()
    assert len(pair.acceptor.happened(CallReceived)) == 1, "it is still being served"
    pair.acceptor.mux.reply(call.call_id, True, {})
    pair.flush(pair.acceptor)
    pair.cut()
    pair.connect()
    pair.settle()
    assert len(pair.acceptor.happened(CallReceived)) == 2, "the answer was lost"
    pair.acceptor.mux.reply(call.call_id, True, {})
    pair.settle()
    assert len(pair.dialler.happened(ReplyReceived)) == 1


def test_a_call_nobody_waits_for_is_not_repeated_and_its_answer_is_nobodys() -> None:
    pair = Pair()
    call_id = pair.dialler.mux.call("Name", {})
    pair.settle()
    pair.dialler.mux.forget_call(call_id)
    pair.acceptor.mux.reply(call_id, True, {})
    pair.settle()
    assert not pair.dialler.happened(ReplyReceived)
    pair.cut()
    pair.connect()
    pair.settle()
    assert len(pair.acceptor.happened(CallReceived)) == 1


def test_going_away_is_told() -> None:
    pair = Pair()
    pair.acceptor.mux.go_away(1, 30, "restarting " + "x" * 2_000)
    pair.settle()
    (event,) = pair.dialler.happened(GoAwayReceived)
    assert isinstance(event, GoAwayReceived)
    assert (event.scope, event.drain_seconds) == (1, 30)
    assert len(event.reason) == 1_024


def test_silence_is_met_with_a_ping_and_a_pong_keeps_the_peace() -> None:
    pair = Pair()
    for _ in range(5):
        pair.advance(10.0)
        pair.settle()
    assert not pair.dialler.happened(ConnectionDead)
    pair.cut()
    assert pair.dialler.mux.next_deadline() is None
    assert pair.dialler.mux.handle_timeout(1_000.0) == []


def test_a_silent_peer_is_dead_after_twenty_seconds() -> None:
    pair = Pair(MuxOptions(liveness=LivenessOptions()))
    assert pair.dialler.mux.next_deadline() == 10.0
    pair.advance(10.0)
    assert types_of(pair.dialler.mux.data_to_send(0)) == ["PING"]
    pair.advance(10.0)
    assert pair.dialler.happened(ConnectionDead)


def test_writing_or_ending_a_stream_that_was_reset_is_our_own_error_or_nothing() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.reset(stream, "aborted")
    pair.dialler.mux.finish(stream)
    with pytest.raises(LocalProtocolError):
        pair.dialler.mux.write(stream, b"x")
    pair.dialler.mux.consumed(stream, 1)
    pair.dialler.mux.discard(stream)
    pair.settle()
    assert pair.dialler.mux.session.consumed == 0


def test_a_forgotten_stream_frees_its_place() -> None:
    pair = Pair()
    pair.acceptor.accepting = False
    pair.dialler.mux.write(pair.dialler.mux.open(TARGET), b"x")
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.mux.forget(theirs)
    pair.acceptor.mux.forget(theirs)
    assert pair.acceptor.mux.pending == 0
    assert pair.acceptor.mux.session.consumed == 1


def test_nothing_is_sent_while_detached() -> None:
    mux = MuxConnection(dialler=True, options=MuxOptions())
    stream = mux.open(TARGET)
    mux.write(stream, b"x")
    mux.call("Name", {})
    mux.go_away(0, 0, "")
    assert mux.data_to_send(0) == []
