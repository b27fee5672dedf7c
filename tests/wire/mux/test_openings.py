"""Who may be opened now, and who is next."""

from __future__ import annotations

from lapdev.wire.mux.openings import Openings
from lapdev.wire.mux.stream import MuxStream


def stream(number: int) -> MuxStream:
    return MuxStream(number, local=True, window=10, send_limit=10)


def test_past_the_most_streams_wait_in_order_until_others_are_answered() -> None:
    openings, streams = Openings(2), [stream(n) for n in (1, 3, 5, 7)]
    assert [openings.begin(one) for one in streams] == [True, True, False, False]
    assert [one.unopened for one in streams] == [False, False, True, True]
    assert openings.next() is None
    openings.answered(streams[1])
    openings.answered(streams[1])
    assert openings.next() is streams[2]
    assert not streams[2].unopened
    assert openings.next() is None


def test_one_that_was_given_up_while_it_waited_is_passed_over() -> None:
    openings, streams = Openings(1), [stream(n) for n in (1, 3, 5)]
    for one in streams:
        openings.begin(one)
    streams[1].unopened = False
    openings.answered(streams[0])
    assert openings.next() is streams[2]


def test_none_overtakes_those_that_wait() -> None:
    openings, first, second, third = Openings(1), stream(1), stream(3), stream(5)
    openings.begin(first)
    openings.begin(second)
    openings.answered(first)
    assert not openings.begin(third)
    assert openings.next() is second
