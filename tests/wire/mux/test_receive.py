"""What a peer may not say: each violation ends the session, and harms no other stream."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux import MuxConnection, MuxOptions
from lapdev.wire.mux.events import DataReceived, Event, StreamOpened
from lapdev.wire.mux.frames import MAX_OFFSET, FrameType, decode, encode, encode_data
from lapdev.wire.mux.receive import MAX_GHOSTS, MAX_PENDING_PONGS

F = FrameType
OPTIONS = MuxOptions(
    stream_window=1_000, session_window=3_000, max_session_window=3_000, max_streams=20
)


def acceptor() -> MuxConnection:
    mux = MuxConnection(dialler=False, options=OPTIONS)
    mux.attach(0, 0.0, resumed=False)
    return mux


def say(mux: MuxConnection, *frames: tuple[object, ...]) -> list[Event]:
    return mux.receive_data(0, b"".join(encode(F(frame[0]), *frame[1:]) for frame in frames))  # type: ignore[arg-type]


def answers(mux: MuxConnection) -> list[list[object]]:
    return [frame for message in mux.data_to_send(0) for frame in decode(message)]


VIOLATIONS: dict[str, list[tuple[object, ...]]] = {
    "HELLO after the handshake": [(F.HELLO, {})],
    "WELCOME after the handshake": [(F.WELCOME, {})],
    "row 60: OPEN of an id in use": [(F.OPEN, 1, {}, 0), (F.OPEN, 1, {}, 0)],
    "row 60: OPEN of an id used before": [
        (F.OPEN, 1, {}, 0),
        (F.OPEN, 5, {}, 0),
        (F.RESET, 1, 0, "c", ""),
        (F.OPEN, 1, {}, 0),
    ],
    "row 60: OPEN of a skipped id twice": [(F.OPEN, n, {}, 0) for n in (5, 3, 3)],
    "row 60: OPEN of an id of ours": [(F.OPEN, 2, {}, 0)],
    "row 60: DATA on a stream of ours that is not open": [(F.DATA, 2, 0, b"x")],
    "ACCEPT of a stream of its own": [(F.OPEN, 1, {}, 0), (F.ACCEPT, 1, 0)],
    "ACCEPT of a stream of ours that is not open": [(F.ACCEPT, 2, 0)],
    "DATA with a gap": [(F.OPEN, 1, {}, 0), (F.DATA, 1, 1, b"x")],
    "DATA again": [(F.OPEN, 1, {}, 0), (F.DATA, 1, 0, b"x"), (F.DATA, 1, 0, b"x")],
    "row 61: DATA beyond credit by one byte": [
        (F.OPEN, 1, {}, 0),
        (F.DATA, 1, 0, b"x" * 1_000),
        (F.DATA, 1, 1_000, b"x"),
    ],
    "row 61: DATA beyond the session's credit": [
        *((F.OPEN, 2 * n + 1, {}, 0) for n in range(4)),
        *((F.DATA, 2 * n + 1, 0, b"x" * 1_000) for n in range(4)),
    ],
    "DATA after FIN": [(F.OPEN, 1, {}, 0), (F.FIN, 1, 0), (F.DATA, 1, 0, b"x")],
    "FIN twice": [(F.OPEN, 1, {}, 0), (F.FIN, 1, 0), (F.FIN, 1, 0)],
    "FIN in the wrong place": [(F.OPEN, 1, {}, 0), (F.FIN, 1, 1)],
    "RESET below what was received": [
        (F.OPEN, 1, {}, 0),
        (F.DATA, 1, 0, b"xx"),
        (F.RESET, 1, 1, "c", ""),
    ],
    "row 61: RESET beyond credit": [(F.OPEN, 1, {}, 0), (F.RESET, 1, 1_001, "c", "")],
    "CREDIT for bytes never sent": [(F.OPEN, 1, {}, 0), (F.CREDIT, 1, 1, 10)],
    "session CREDIT for bytes never sent": [(F.CREDIT, 0, 1, 10)],
    "RESUME of a session that is not resumed": [(F.RESUME, 0, 0, 0, [], False)],
    "a flood of pings": [(F.PING, n) for n in range(MAX_PENDING_PONGS + 1)],
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_ends_the_session_with_1002(name: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        say(acceptor(), *VIOLATIONS[name])
    assert caught.value.answer_status == 1002


def test_row_60_data_of_an_unknown_stream_resets_that_stream_and_reaches_no_other() -> None:
    mux = acceptor()
    events = say(mux, (F.OPEN, 1, {}, 0), (F.DATA, 99, 0, b"stray"), (F.FIN, 97, 0))
    assert [type(event) for event in events] == [StreamOpened]
    assert answers(mux) == [
        [F.RESET, 99, 0, "unknown_stream", ""],
        [F.RESET, 97, 0, "unknown_stream", ""],
    ]
    assert mux.session.consumed == 5


def test_row_60_data_of_a_closed_stream_resets_that_stream() -> None:
    mux = acceptor()
    say(mux, (F.OPEN, 1, {}, 0), (F.RESET, 1, 0, "aborted", ""))
    assert answers(mux) == [[F.RESET, 1, 0, "reset", ""]]
    assert say(mux, (F.DATA, 1, 0, b"late")) == []
    assert answers(mux) == [[F.RESET, 1, 0, "unknown_stream", ""]]


def test_row_61_credit_and_reset_of_a_closed_stream_are_ignored() -> None:
    mux = acceptor()
    frames = [(F.CREDIT, 51, 9, MAX_OFFSET), (F.RESET, 51, 7, "c", ""), (F.ACCEPT, 51, 0)]
    assert say(mux, *frames) == []
    assert answers(mux) == []


def test_row_61_credit_never_shrinks_and_zero_credit_just_waits() -> None:
    mux = acceptor()
    (opened,) = say(mux, (F.OPEN, 1, {}, 0))
    assert isinstance(opened, StreamOpened)
    mux.accept(opened.stream)
    mux.write(opened.stream, b"abc")
    assert [frame[0] for frame in answers(mux)] == [F.ACCEPT]
    say(mux, (F.CREDIT, 1, 0, 2))
    assert answers(mux) == [[F.DATA, 1, 0, b"ab"]]
    say(mux, (F.CREDIT, 1, 0, 1))
    assert answers(mux) == []
    say(mux, (F.CREDIT, 1, 2, MAX_OFFSET))
    assert answers(mux) == [[F.DATA, 1, 2, b"c"]]


def test_a_reset_that_announces_lost_bytes_pays_them_back() -> None:
    mux = acceptor()
    say(mux, (F.OPEN, 1, {}, 0), (F.DATA, 1, 0, b"xx"), (F.RESET, 1, 500, "aborted", ""))
    assert mux.session.received == mux.session.consumed == 500


def test_pings_are_answered_and_pongs_are_not() -> None:
    mux = acceptor()
    assert say(mux, (F.PING, 7), (F.PONG, 3)) == []
    assert answers(mux) == [[F.PONG, 7]]
    assert say(mux, *[(F.PING, n) for n in range(MAX_PENDING_PONGS)]) == []


def test_a_peer_that_opens_and_never_confirms_an_end_is_cut_off() -> None:
    mux = acceptor()
    with pytest.raises(RemoteProtocolError, match="not confirmed"):
        for n in range(MAX_GHOSTS + OPTIONS.max_streams + 1):
            say(mux, (F.OPEN, 2 * n + 1, {}, 0))


def test_row_59_hostile_messages_cost_little() -> None:
    hostile = [
        b"\x91" * 10_000,
        b"\xdd\xff\xff\xff\xff" * 100,
        b"\x94\x0a\x01\xa1N" + b"\x81\xa1a" * 10_000,
    ]
    for message in hostile:
        taken = []
        for _ in range(3):
            started = time.process_time()
            with pytest.raises(RemoteProtocolError):
                acceptor().receive_data(0, message)
            taken.append(time.process_time() - started)
        # The bar is a millisecond; a busy machine and a full garbage heap are given some.
        assert min(taken) < 0.02


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 999, 1_000, 1_001, 3_000, MAX_OFFSET])
FRAMES = st.one_of(
    st.tuples(st.just(F.OPEN), NUMBERS, st.just({}), NUMBERS),
    st.tuples(st.just(F.ACCEPT), NUMBERS, NUMBERS),
    st.tuples(st.just(F.DATA), NUMBERS, NUMBERS, st.binary(max_size=3)),
    st.tuples(st.just(F.FIN), NUMBERS, NUMBERS),
    st.tuples(st.just(F.DATAGRAM), NUMBERS, st.binary(max_size=3)),
    st.tuples(st.just(F.RESET), NUMBERS, NUMBERS, st.just("c"), st.just("")),
    st.tuples(st.just(F.CREDIT), NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just(F.PING), NUMBERS),
    st.tuples(st.just(F.CALL), NUMBERS, st.just("Name"), st.just({})),
    st.tuples(st.just(F.REPLY), NUMBERS, st.booleans(), st.just({})),
    st.tuples(st.just(F.GOAWAY), st.integers(0, 2), NUMBERS, st.just("")),
    st.tuples(
        st.just(F.RESUME),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.lists(st.lists(NUMBERS, min_size=4, max_size=4), max_size=3),
        st.booleans(),
    ),
)


@given(st.lists(FRAMES, max_size=12), st.booleans(), st.booleans())
def test_fuzz_any_frames_give_events_or_a_remote_error(
    frames: Iterable[tuple[object, ...]], dialler: bool, resumed: bool
) -> None:
    mux = MuxConnection(dialler=dialler, options=OPTIONS)
    mux.attach(0, 0.0, resumed=False)
    for _ in range(2):
        mux.write(mux.open({}), b"abc")
    mux.data_to_send(0)
    if resumed:
        mux.attach(0, 1.0, resumed=True)
    try:
        for frame in frames:
            for event in say(mux, frame):
                if isinstance(event, StreamOpened):
                    mux.accept(event.stream)
                elif isinstance(event, DataReceived):
                    mux.consumed(event.stream, len(event.data))
            mux.data_to_send(0)
    except RemoteProtocolError as exc:
        assert exc.answer_status == 1002
    assert mux.session.consumed <= mux.session.received <= mux.session.receive_limit + 65_536
    assert mux.pending >= 0


def test_a_frame_of_an_unknown_stream_that_comes_in_pieces_has_one_answer() -> None:
    mux = MuxConnection(dialler=False, options=MuxOptions())
    mux.attach(0, 0.0, resumed=False)
    message = encode_data(1, 0, b"x" * 100_000)
    mux.receive_data(0, [message[:30_000], message[30_000:60_000], message[60_000:]])
    resets = [answer for answer in answers(mux) if answer[0] == F.RESET]
    assert resets == [[F.RESET, 1, 0, "unknown_stream", ""]]
