"""A session whose connection is cut: no byte lost, doubled or reordered, whatever happens when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux import MuxConnection, MuxOptions, MuxStream
from lapdev.wire.mux.events import Event, Resumed, StreamAccepted, StreamEnded
from lapdev.wire.mux.frames import RESUME_ENTRIES, FrameType, decode, encode
from lapdev.wire.mux.resume import MAX_LISTED, PeerResume
from tests.support.pair import End, Pair

TARGET = {"kind": "x"}
SMALL = MuxOptions(
    stream_window=2_000, session_window=5_000, max_session_window=5_000, credit_delay=1.0
)


def test_what_was_under_way_is_sent_again_and_nothing_twice() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"a" * 100)
    pair.settle()
    pair.dialler.mux.write(stream, b"b" * 100)
    pair.flush(pair.dialler)
    pair.cut()
    pair.dialler.mux.write(stream, b"c" * 100)
    pair.connect()
    pair.settle()
    assert pair.acceptor.received[1] == b"a" * 100 + b"b" * 100 + b"c" * 100
    assert pair.acceptor.happened(Resumed)


def test_an_open_that_was_lost_is_repeated_with_its_data() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"first")
    pair.flush(pair.dialler)
    pair.cut()
    pair.connect()
    pair.settle()
    assert pair.acceptor.received[1] == b"first"
    assert len(pair.acceptor.opened) == 1
    assert stream.accepted


def test_a_stream_opened_while_the_connection_is_away_waits_for_the_next() -> None:
    pair = Pair()
    pair.cut()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"patience")
    pair.dialler.mux.finish(stream)
    pair.connect()
    pair.settle()
    assert pair.acceptor.received[1] == b"patience"
    assert pair.acceptor.ended == {1}


def test_a_stream_opened_and_reset_while_away_never_shows() -> None:
    pair = Pair()
    pair.cut()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.reset(stream, "aborted")
    pair.connect()
    pair.settle()
    assert not pair.acceptor.opened
    assert not pair.dialler.mux.streams


@pytest.mark.parametrize("known_by", ["the peer's list", "a repeated ACCEPT"])
def test_an_accept_that_was_lost_becomes_known(known_by: str) -> None:
    pair = Pair()
    pair.acceptor.accepting = False
    pair.dialler.mux.open(TARGET)
    pair.settle()
    (theirs,) = pair.acceptor.opened
    if known_by == "the peer's list":
        pair.acceptor.mux.accept(theirs)
        pair.flush(pair.acceptor)
        pair.cut()
        pair.connect()
    else:
        pair.cut()
        pair.connect()
        pair.acceptor.mux.accept(theirs)  # after its RESUME was made, before the peer's came
    pair.settle()
    assert len(pair.dialler.happened(StreamAccepted)) == 1


def test_a_reset_that_was_lost_is_repeated_and_its_bytes_are_accounted_for() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.dialler.mux.write(stream, b"x" * 700)
    pair.dialler.mux.data_to_send(0)
    pair.dialler.mux.reset(stream, "aborted", "gone")
    pair.flush(pair.dialler)
    pair.cut()
    pair.connect()
    pair.settle()
    (ended,) = pair.acceptor.happened(StreamEnded)
    assert isinstance(ended, StreamEnded)
    assert (ended.cause, ended.detail) == ("aborted", "gone")
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert pair.dialler.mux.session.sent == pair.acceptor.mux.session.received


def test_the_answer_to_a_reset_that_was_lost_is_not_missed() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.dialler.mux.reset(stream, "aborted")
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler)
    pair.flush(pair.acceptor)
    pair.cut()
    pair.connect()
    pair.settle()
    assert not pair.dialler.mux.streams
    assert not pair.dialler.happened(StreamEnded)


def test_an_end_that_was_lost_and_a_last_acknowledgement_that_was_lost() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"q")
    pair.settle()
    (theirs,) = pair.acceptor.opened
    pair.acceptor.mux.write(theirs, b"a")
    pair.acceptor.mux.finish(theirs)
    pair.dialler.mux.finish(stream)
    for _ in range(4):
        pair.flush(pair.dialler)
        pair.flush(pair.acceptor)
        pair.cut()
        pair.connect()
        for end in (pair.dialler, pair.acceptor):  # the RESUMEs cross, and no more
            pair.flush(end)
            pair.deliver(end)
    pair.settle()
    assert pair.dialler.received[1] == b"a"
    assert pair.dialler.ended == pair.acceptor.ended == {1}
    assert not pair.dialler.mux.streams
    assert not pair.acceptor.mux.streams
    assert not pair.dialler.happened(StreamEnded)
    assert not pair.acceptor.happened(StreamEnded)


def test_a_cut_at_every_point_of_a_dialogue_changes_nothing() -> None:
    for point in range(12):
        pair = Pair()
        stream = pair.dialler.mux.open(TARGET)
        pair.dialler.mux.write(stream, b"question")
        pair.dialler.mux.finish(stream)
        answered = False
        for step in range(14):
            if step == point:
                pair.cut()
                pair.connect()
            for end in (pair.dialler, pair.acceptor):
                pair.flush(end)
                if step != point - 1:  # what is under way at the cut is lost
                    pair.deliver(end)
            if pair.acceptor.opened and not answered:
                answered = True
                pair.acceptor.mux.write(pair.acceptor.opened[0], b"answer")
                pair.acceptor.mux.finish(pair.acceptor.opened[0])
        pair.settle()
        assert pair.acceptor.received[1] == b"question", point
        assert pair.dialler.received[1] == b"answer", point
        assert pair.dialler.ended == pair.acceptor.ended == {1}, point
        assert not pair.dialler.mux.streams, point
        assert not pair.acceptor.mux.streams, point


def test_a_stream_the_peer_no_longer_knows_is_reset() -> None:
    pair = Pair()
    stream = pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.cut()
    pair.acceptor.mux.forget(pair.acceptor.opened[0])
    pair.connect()
    pair.settle()
    assert pair.dialler.happened(StreamEnded) == [
        StreamEnded(stream, "stream_lost", "the other end no longer knows the stream", False)
    ]


def test_many_streams_are_listed_in_several_frames() -> None:
    pair = Pair(MuxOptions(max_pending=10_000))
    for _ in range(RESUME_ENTRIES + 5):
        pair.dialler.mux.open(TARGET)
    pair.settle()
    pair.cut()
    pair.connect()
    frames = [frame for message in pair.dialler.mux.data_to_send(0) for frame in decode(message)]
    assert [(len(frame[4]), frame[5]) for frame in frames] == [(RESUME_ENTRIES, True), (5, False)]


def half_resumed() -> MuxConnection:
    """An acceptor with one accepted stream and six bytes sent on it, waiting for RESUME."""
    mux = MuxConnection(dialler=False, options=SMALL)
    mux.attach(0, 0.0, resumed=False)
    stream = mux.open(TARGET)
    mux.receive_data(0, encode(FrameType.ACCEPT, 2, 2_000))
    mux.write(stream, b"abcdef")
    mux.data_to_send(0)
    mux.receive_data(0, encode(FrameType.CREDIT, 2, 3, 2_000))
    mux.attach(0, 1.0, resumed=True)
    return mux


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ((7, 5_000, 2, [[2, 6, 2_000, 1]]), "7 received of 6"),
        ((6, 5_000, 2, [[2, 7, 2_000, 1]]), "7 acknowledged"),
        ((6, 5_000, 2, [[2, 2, 2_000, 1]]), "below"),
        ((6, 5_000, 4, [[2, 6, 2_000, 1]]), "never opened"),
        ((6, 5_000, 0, []), "is unknown"),
        ((6, 5_000, 2, [[2, 6, 2_000, 1]] * 2), "twice"),
    ],
)
def test_a_peer_that_claims_what_cannot_be_is_refused(
    fields: tuple[object, ...], what: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=what):
        half_resumed().receive_data(0, encode(FrameType.RESUME, *fields, False))


def test_nothing_of_streams_may_come_before_resume() -> None:
    with pytest.raises(RemoteProtocolError, match="before RESUME"):
        half_resumed().receive_data(0, encode(FrameType.DATA, 2, 0, b"x"))


def test_nothing_of_streams_leaves_before_the_peers_resume() -> None:
    mux = half_resumed()
    mux.open(TARGET)
    mux.call("Name", {})
    kinds = [frame[0] for message in mux.data_to_send(0) for frame in decode(message)]
    assert kinds == [FrameType.CALL]
    mux.receive_data(0, encode(FrameType.RESUME, 3, 5_000, 2, [[2, 3, 2_000, 1]], False))
    frames = [frame for message in mux.data_to_send(0) for frame in decode(message)]
    assert frames[0][:6] == [
        FrameType.RESUME,
        0,
        5_000,
        0,
        [[2, 0, 2_000, 1], [4, 0, 2_000, 0]],
        False,
    ]
    assert [frame[:3] for frame in frames[1:]] == [[2, 4, TARGET], [4, 2, 3]]


def test_an_endless_list_is_refused() -> None:
    peer = PeerResume()
    with pytest.raises(RemoteProtocolError, match="more than"):
        for start in range(1, MAX_LISTED + RESUME_ENTRIES + 2, RESUME_ENTRIES):
            entries = [[n, 0, 0, 0] for n in range(start, start + RESUME_ENTRIES)]
            peer.add([13, 0, 0, 0, entries, True])


# Any interleaving


@dataclass
class Conversation:
    """A pair under chaos, with what each stream was given to carry."""

    pair: Pair = field(default_factory=lambda: Pair(SMALL))
    written: dict[tuple[int, int], bytearray] = field(default_factory=dict)
    """(who writes: 0 dialler, 1 acceptor; stream) → bytes"""
    finished: set[tuple[int, int]] = field(default_factory=set)
    reset: set[int] = field(default_factory=set)

    def ends(self) -> tuple[End, End]:
        return self.pair.dialler, self.pair.acceptor

    def live(self, side: int) -> list[MuxStream]:
        streams = self.ends()[side].mux.streams.values()
        return [s for s in streams if not s.reset_cause and s.stream_id not in self.reset]

    def step(self, rng: random.Random) -> None:
        side = rng.randrange(2)
        end = self.ends()[side]
        action = rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        if action == "open" and len(end.mux.streams) < 6:
            end.mux.open(TARGET)
        elif action in ("write", "finish", "reset") and (streams := self.live(side)):
            stream = rng.choice(streams)
            key = (side, stream.stream_id)
            if action == "reset":
                end.mux.reset(stream, "aborted")
                self.reset.add(stream.stream_id)
            elif action == "finish":
                end.mux.finish(stream)
                self.finished.add(key)
            elif key not in self.finished:
                data = rng.randbytes(rng.randint(1, 3_000))
                end.mux.write(stream, data)
                self.written.setdefault(key, bytearray()).extend(data)
        elif action == "flush":
            self.pair.flush(end)
        elif action == "deliver" and end.mux.links:
            self.pair.deliver(end, rng.randint(1, 3))
        elif action == "consume":
            end.consume_held()
        elif action == "pause":
            end.reading = not end.reading
        elif action == "advance":
            self.pair.advance(0.7)
        elif action == "cut":
            self.pair.cut()
            if rng.random() < 0.8:
                self.pair.connect()
        elif action == "connect" and not end.mux.links:
            self.pair.connect()

    def wind_up(self) -> None:
        """Everything is finished, read and delivered."""
        for side, end in enumerate(self.ends()):
            end.reading = True
            end.consume_held()
            for stream in self.live(side):
                end.mux.finish(stream)
        self.pair.cut()
        self.pair.connect()
        self.pair.settle()
        for side in range(2):  # streams that were opened only now
            for stream in self.live(side):
                self.ends()[side].mux.finish(stream)
        self.pair.settle()

    def check(self) -> None:
        ended: set[int] = set()
        for end in self.ends():
            ended |= {event.stream.stream_id for event in end.events if is_end(event)}
        assert ended <= self.reset, "only what was reset breaks off"
        for (side, stream_id), data in self.written.items():
            got = self.ends()[1 - side].received.get(stream_id, bytearray())
            if stream_id in self.reset:
                assert data.startswith(got)
            else:
                assert got == data
        for end in self.ends():
            assert not end.mux.streams
            assert end.mux.pending == 0
            assert end.mux.session.consumed == end.mux.session.received
        dialler, acceptor = self.ends()
        assert dialler.mux.session.sent == acceptor.mux.session.received
        assert acceptor.mux.session.sent == dialler.mux.session.received


def is_end(event: Event) -> bool:
    return isinstance(event, StreamEnded)


ACTIONS = {
    "open": 4.0,
    "write": 10.0,
    "finish": 2.0,
    "reset": 1.0,
    "flush": 14.0,
    "deliver": 14.0,
    "consume": 5.0,
    "pause": 1.0,
    "advance": 2.0,
    "cut": 1.5,
    "connect": 3.0,
}
"""Each with how often it happens beside the others."""


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 150))
def test_any_interleaving_of_writes_reads_cuts_and_resumes_delivers_exactly_what_was_sent(
    seed: int, steps: int
) -> None:
    rng = random.Random(seed)
    conversation = Conversation()
    for _ in range(steps):
        conversation.step(rng)
    conversation.wind_up()
    conversation.check()


def test_a_large_transfer_survives_a_cut_every_few_messages() -> None:
    pair = Pair()
    payload = random.Random(3).randbytes(3_000_000)
    stream = pair.dialler.mux.open(TARGET)
    pair.dialler.mux.write(stream, payload)
    pair.dialler.mux.finish(stream)
    rounds = 0
    while 1 not in pair.acceptor.ended:
        rounds += 1
        assert rounds < 2_000
        for end in (pair.dialler, pair.acceptor):
            pair.flush(end)
            pair.deliver(end, 2)
        if rounds % 4 == 0:
            pair.cut()
            pair.connect()
    assert bytes(pair.acceptor.received[1]) == payload
    assert rounds > 12, "it was cut at least three times"
