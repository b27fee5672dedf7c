"""Several links: streams belong to one, and go on over another when theirs is lost."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.mux import MuxOptions, MuxStream
from lapdev.wire.mux.events import DataReceived, Resumed, StreamEnded
from lapdev.wire.mux.frames import FrameType, decode, encode
from lapdev.wire.mux.sender import MANY_STREAMS, QUANTUM_BYTES
from tests.support.pair import End, Pair

TARGET = {"kind": "x"}


def with_links(count: int, options: MuxOptions | None = None) -> Pair:
    pair = Pair(options)
    for link in range(1, count):
        pair.connect(link)
    pair.settle()
    assert pair.dialler.mux.links == pair.acceptor.mux.links == tuple(range(count))
    return pair


def one_stream_each(pair: Pair, links: int) -> list[MuxStream]:
    """Streams of the dialler, ordered by their link."""
    streams = [pair.dialler.mux.open(TARGET) for _ in range(links)]
    pair.settle()
    assert {stream.link for stream in streams} == set(range(links))
    return sorted(streams, key=lambda stream: stream.link)


def at_rest(pair: Pair) -> None:
    for end in pair.ends():
        session, peer = end.mux.session, pair.other(end).mux.session
        assert (session.sent, session.consumed) == (peer.received, session.received)


def asked_on(end: End, link: int) -> list[list[int]]:
    """The links each RESUME on the wire is about."""
    frames = [frame for message in end.wires[link] for frame in decode(message)]
    return [[item[0] for item in frame[6]] for frame in frames if frame[0] == FrameType.RESUME]


def test_a_further_link_carries_streams_once_both_ends_have_said_that_it_is_empty() -> None:
    pair = with_links(2)
    first, second = one_stream_each(pair, 2)
    pair.dialler.mux.write(second, b"over the second")
    messages = pair.dialler.mux.data_to_send(1)
    assert [frame[0] for message in messages for frame in decode(message)] == [FrameType.DATA]
    pair.acceptor.take(pair.acceptor.mux.receive_data(1, messages[0]))
    assert pair.acceptor.received == {second.stream_id: bytearray(b"over the second")}
    assert first.link == 0


def test_a_new_stream_goes_where_least_waits_and_never_to_a_congested_link_if_another_is_free() -> (
    None
):
    pair = with_links(3)
    mux = pair.dialler.mux
    busy = mux.open(TARGET)
    mux.write(busy, b"x" * 100)
    assert busy.link not in {mux.open(TARGET).link for _ in range(6)}
    for link in {0, 1, 2} - {busy.link}:
        mux.pause(link)
    assert mux.open(TARGET).link == busy.link
    mux.pause(busy.link)
    assert mux.open(TARGET).link != busy.link, "all congested: the least queued again"


def test_a_new_stream_keeps_away_from_a_link_that_receives_much() -> None:
    pair = with_links(2)
    ours, theirs = pair.dialler.mux, pair.acceptor.mux
    download = ours.open(TARGET)
    pair.settle()
    (at_the_peer,) = theirs.streams.values()
    for second in range(1, 4):
        theirs.write(at_the_peer, b"x" * 100_000)
        pair.settle()
        ours.heard(0, float(second))
        ours.heard(1, float(second))
        assert {ours.open(TARGET).link for _ in range(6)} == {1 - download.link}


def test_very_many_new_streams_are_shared_out_by_number() -> None:
    pair = with_links(2, MuxOptions(max_pending=100_000))
    mux = pair.dialler.mux
    for link in (0, 1):
        mux.pause(link)
    for n in range(10 * MANY_STREAMS):
        mux.write(mux.open(TARGET), b"x" * (1 + n % 1_000))
    counts = [sum(stream.link == link for stream in mux.streams.values()) for link in (0, 1)]
    assert abs(counts[0] - counts[1]) <= MANY_STREAMS
    assert mux.table[0].sender.queued_bytes == counts[0] * QUANTUM_BYTES


def test_a_paused_link_sends_control_only() -> None:
    pair = with_links(1)
    mux = pair.dialler.mux
    mux.write(mux.open(TARGET), b"x")
    mux.pause(0)
    assert [frame[0] for m in mux.data_to_send(0) for frame in decode(m)] == [FrameType.OPEN]
    mux.resume(0)
    assert [frame[0] for m in mux.data_to_send(0) for frame in decode(m)] == [FrameType.DATA]


def test_the_streams_of_a_lost_link_go_on_over_another_after_one_round_trip() -> None:
    pair = with_links(2)
    one, two = one_stream_each(pair, 2)
    for stream in (one, two):
        pair.dialler.mux.write(stream, b"a" * 100)
    (theirs,) = [s for s in pair.acceptor.opened if s.link == 1]
    pair.acceptor.mux.write(theirs, b"b" * 100)
    for end in pair.ends():
        pair.flush(end)
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.settle()
    assert pair.acceptor.received[two.stream_id] == b"a" * 100
    assert pair.dialler.received[two.stream_id] == b"b" * 100
    assert (two.link, theirs.link) == (0, 0)
    assert Resumed(0, (1,)) in pair.dialler.events
    pair.connect(1)
    pair.settle()
    assert two.link == 0, "the link comes back empty"
    assert 1 in {pair.dialler.mux.open(TARGET).link for _ in range(2)}
    at_rest(pair)


def test_a_move_of_a_link_the_acceptor_still_believes_in_closes_it_and_drops_what_comes() -> None:
    pair = with_links(2)
    _, two = one_stream_each(pair, 2)
    pair.dialler.mux.write(two, b"a" * 10)
    late = pair.dialler.mux.data_to_send(1)
    pair.dialler.mux.detach(1)
    pair.dialler.mux.move(1, 0)
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler, 9)
    assert pair.acceptor.superseded == [1]
    assert pair.acceptor.mux.links == (0,)
    assert pair.acceptor.mux.receive_data(1, late[0]) == []
    pair.settle()
    assert pair.acceptor.received[two.stream_id] == b"a" * 10
    at_rest(pair)


def test_while_a_move_is_unanswered_other_streams_go_on() -> None:
    pair = with_links(2)
    one, two = one_stream_each(pair, 2)
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.dialler.mux.write(one, b"go on")
    pair.dialler.mux.write(two, b"wait")
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler, 9)
    assert pair.acceptor.received == {one.stream_id: bytearray(b"go on")}
    pair.settle()
    assert pair.acceptor.received[two.stream_id] == b"wait"


@pytest.mark.parametrize("arrived", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("back", [0, 1, 2])
def test_the_carrier_of_a_move_is_lost_before_the_answer_came(arrived: bool, back: int) -> None:
    pair = with_links(3)
    streams = one_stream_each(pair, 3)
    for stream in streams:
        pair.dialler.mux.write(stream, b"%d" % stream.link * 50)
    for theirs in pair.acceptor.opened:
        pair.acceptor.mux.write(theirs, b"answer")
    for end in pair.ends():
        pair.flush(end)
    pair.cut(2)
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.flush(pair.dialler)
    if arrived:
        pair.deliver(pair.dialler, 9)
        pair.flush(pair.acceptor)
    pair.cut(0)
    pair.connect(back)
    assert asked_on(pair.dialler, back) == []
    pair.flush(pair.dialler)
    assert asked_on(pair.dialler, back) == [[0, 1] if back < 2 else [2]]
    for link in {0, 1, 2} - {back}:
        pair.dialler.mux.move(link, back)
    pair.settle()
    for number, stream in enumerate(streams):
        assert pair.acceptor.received[stream.stream_id] == b"%d" % number * 50
        assert pair.dialler.received[stream.stream_id] == b"answer"
    for end in pair.ends():
        assert not end.happened(StreamEnded)
        assert {s.link for s in end.mux.streams.values()} == {back}
    at_rest(pair)


def test_a_link_that_comes_back_while_its_move_is_unanswered_waits_for_the_answer() -> None:
    pair = with_links(2)
    _, two = one_stream_each(pair, 2)
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.connect(1)
    pair.dialler.mux.write(two, b"once")
    pair.flush(pair.dialler)
    assert asked_on(pair.dialler, 0) == [[1]]
    assert asked_on(pair.dialler, 1) == []
    pair.settle()
    assert pair.acceptor.received[two.stream_id] == b"once"
    assert pair.acceptor.superseded == [], "the new connection is not the one that is over"
    assert pair.acceptor.mux.links == (0, 1)
    assert two.link == 0


def test_a_link_that_waits_with_its_request_goes_on_when_the_carrier_it_waits_for_is_lost() -> None:
    pair = with_links(2)
    one, two = one_stream_each(pair, 2)
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.connect(1)
    pair.cut(0)
    for stream in (one, two):
        pair.dialler.mux.write(stream, b"at last")
    pair.settle()
    assert [bytes(data) for data in pair.acceptor.received.values()] == [b"at last"] * 2
    assert (one.link, two.link) == (1, 1)
    at_rest(pair)


def test_opens_overtake_each_other_and_only_those_that_were_lost_are_repeated() -> None:
    pair = with_links(2)
    slow = [s for s in (pair.dialler.mux.open(TARGET) for _ in range(8)) if s.link == 1]
    assert len(slow) == 4
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler, 9, link=0)
    assert len(pair.acceptor.opened) == 4
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler, 9, link=0)
    pair.flush(pair.acceptor)
    (message,) = pair.acceptor.wires[0]
    (answer,) = [frame for frame in decode(message) if frame[0] == FrameType.RESUME]
    assert answer[7], "the answer says which ids never came"
    pair.settle()
    assert sorted(s.stream_id for s in pair.acceptor.opened) == list(range(1, 17, 2))
    assert all(stream.accepted for stream in slow)


def test_a_stream_opened_while_no_link_is_there_leaves_with_the_first_that_comes() -> None:
    pair = with_links(2)
    for link in (0, 1):
        pair.cut(link)
    stream, theirs = pair.dialler.mux.open(TARGET), pair.acceptor.mux.open(TARGET)
    pair.dialler.mux.write(stream, b"patience")
    pair.acceptor.mux.write(theirs, b"likewise")
    pair.connect(1)
    pair.dialler.mux.move(0, 1)
    pair.settle()
    assert pair.acceptor.received == {stream.stream_id: bytearray(b"patience")}
    assert pair.dialler.received == {theirs.stream_id: bytearray(b"likewise")}


def test_the_loss_of_one_link_takes_no_credit_from_the_others() -> None:
    pair = with_links(
        2, MuxOptions(stream_window=2_000, session_window=3_000, max_session_window=3_000)
    )
    one, two = one_stream_each(pair, 2)
    for _ in range(10):
        pair.dialler.mux.write(two, b"y" * 500)
        pair.dialler.mux.write(one, b"x" * 500)
        pair.flush(pair.dialler)
        pair.cut(1)  # its 500 are lost each time
        pair.dialler.mux.move(1, 0)
        pair.settle()
        pair.connect(1)
        pair.settle()
        two = pair.dialler.mux.open(TARGET)
        while two.link != 1:
            two = pair.dialler.mux.open(TARGET)
    at_rest(pair)
    assert len(pair.acceptor.received[one.stream_id]) == 5_000


def test_a_reset_whose_answer_was_lost_leaks_no_credit() -> None:
    pair = with_links(2)
    _, two = one_stream_each(pair, 2)
    (theirs,) = [s for s in pair.acceptor.opened if s.link == 1]
    pair.dialler.mux.write(two, b"x" * 700)
    pair.flush(pair.dialler)
    pair.acceptor.mux.reset(theirs, "aborted")
    pair.flush(pair.acceptor)
    pair.deliver(pair.acceptor, 9, link=1)
    pair.flush(pair.dialler)  # 700 bytes and the answer: both are lost
    pair.cut(1)
    pair.dialler.mux.move(1, 0)
    pair.settle()
    assert two.stream_id not in pair.acceptor.mux.streams
    at_rest(pair)


def test_only_the_dialler_moves_and_only_what_is_lost_to_what_lives() -> None:
    pair = with_links(2)
    for end, link, to in ((pair.acceptor, 1, 0), (pair.dialler, 1, 0), (pair.dialler, 1, 1)):
        with pytest.raises(LocalProtocolError):
            end.mux.move(link, to)
    pair.cut(1)
    with pytest.raises(LocalProtocolError):
        pair.dialler.mux.move(0, 1)
    with pytest.raises(LocalProtocolError):
        pair.dialler.mux.attach(4, 0.0, resumed=True)


RESUME, EMPTY = FrameType.RESUME, (0, 67_108_864, 0, [], False)


@pytest.mark.parametrize(
    ("name", "link", "frame"),
    [
        ("its own link once more", 0, (RESUME, *EMPTY, [[0, 0]], [])),
        ("a fresh link unnamed", 1, (RESUME, *EMPTY, [[0, 0]], [])),
        ("more received than sent", 0, (RESUME, *EMPTY, [[1, 1]], [])),
        ("another link's stream", 0, (RESUME, 0, 0, 0, [[5, 0, 0, 0]], False, [[1, 0]], [])),
        ("a stream on the wrong link", 0, (FrameType.DATA, 3, 0, b"x")),
        ("an unknown link", 0, (RESUME, *EMPTY, [[4, 0]], [])),
        ("no link", 0, (RESUME, *EMPTY, [], [])),
        ("a link twice", 0, (RESUME, *EMPTY, [[1, 0], [1, 0]], [])),
        ("ids missing in disorder", 0, (RESUME, *EMPTY, [[1, 0]], [[5, 3]])),
    ],
)
def test_a_dialler_that_breaks_the_rules_of_moving_is_refused(
    name: str, link: int, frame: tuple[object, ...]
) -> None:
    pair = with_links(3)
    one_stream_each(pair, 3)
    if "fresh" in name:
        pair.acceptor.mux.attach(link, 0.0, resumed=True)
    with pytest.raises(RemoteProtocolError) as caught:
        pair.acceptor.mux.receive_data(link, encode(FrameType(frame[0]), *frame[1:]))  # type: ignore[call-overload]
    assert caught.value.answer_status == 1002


def test_an_acceptor_that_answers_what_was_not_asked_is_refused() -> None:
    pair = with_links(2)
    with pytest.raises(RemoteProtocolError, match="not asked"):
        pair.dialler.mux.receive_data(0, encode(RESUME, *EMPTY, [[1, 0]], []))


def test_a_link_on_which_nothing_of_streams_may_come_yet() -> None:
    pair = with_links(1)
    pair.acceptor.mux.attach(1, 0.0, resumed=True)
    with pytest.raises(RemoteProtocolError, match="before RESUME"):
        pair.acceptor.mux.receive_data(1, encode(FrameType.OPEN, 1, TARGET, 0))


def test_data_of_a_stream_comes_on_its_link_in_order() -> None:
    pair = with_links(4)
    streams = one_stream_each(pair, 4)
    for n in range(20):
        for stream in streams:
            pair.dialler.mux.write(stream, bytes([n]) * 1_000)
        pair.flush(pair.dialler)
    for link in (3, 1, 2, 0):
        pair.deliver(pair.dialler, 99, link)
    for stream in streams:
        expected = b"".join(bytes([n]) * 1_000 for n in range(20))
        assert pair.acceptor.received[stream.stream_id] == expected
    assert pair.acceptor.happened(DataReceived)
