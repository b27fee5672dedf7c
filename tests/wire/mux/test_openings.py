"""Who may be opened now, and who is next."""

from __future__ import annotations

import random

from lapdev.wire.mux.openings import Openings
from lapdev.wire.mux.stream import MuxStream


def stream(number: int) -> MuxStream:
    return MuxStream(number, local=True, window=10, send_limit=10)


def drained(openings: Openings) -> list[int]:
    found = []
    while one := openings.next():
        assert not one.unopened
        found.append(one.stream_id)
    return found


def test_past_the_most_streams_wait_in_order_until_others_are_answered() -> None:
    openings, streams = Openings(4), [stream(n) for n in (1, 3, 5, 7)]
    assert [openings.begin(one, "api") for one in streams] == [True, True, False, False]
    assert [one.unopened for one in streams] == [False, False, True, True]
    assert drained(openings) == []
    openings.answered(streams[1])
    openings.answered(streams[1])
    assert drained(openings) == [5]


def test_one_that_was_given_up_while_it_waited_is_passed_over() -> None:
    openings, streams = Openings(2), [stream(n) for n in (1, 3, 5)]
    for one in streams:
        openings.begin(one, "api")
    streams[1].unopened = False
    openings.answered(streams[0])
    assert drained(openings) == [5]


def test_none_overtakes_those_that_wait_for_the_same() -> None:
    openings, first, second, third = Openings(2), stream(1), stream(3), stream(5)
    openings.begin(first, "api")
    openings.begin(second, "api")
    openings.answered(first)
    assert not openings.begin(third, "api")
    assert drained(openings) == [3]


def test_a_target_that_hangs_leaves_half_of_the_room_to_others() -> None:
    openings = Openings(8)
    hanging = [stream(2 * n + 1) for n in range(20)]
    assert sum(openings.begin(one, "hangs") for one in hanging) == 4
    for n in range(50):
        other = stream(101 + 2 * n)
        assert openings.begin(other, "works")
        openings.answered(other)
    assert drained(openings) == []


def test_targets_that_wait_take_turns() -> None:
    openings = Openings(4)
    first = [stream(n) for n in (1, 3)]
    second = [stream(n) for n in (5, 7)]
    assert all(openings.begin(one, "a") for one in first)
    assert all(openings.begin(one, "b") for one in second)
    for n, target in ((9, "a"), (11, "a"), (13, "b"), (15, "b")):
        assert not openings.begin(stream(n), target)
    for one in (*first, *second):
        openings.answered(one)
    assert drained(openings) == [9, 13, 11, 15]


def test_whatever_comes_all_are_opened_in_the_end() -> None:
    chance = random.Random(5)
    openings, open_now, seen, number = Openings(6), [], set(), 1
    wanted = set()
    for _ in range(3_000):
        if chance.random() < 0.5:
            one = stream(number)
            number += 2
            wanted.add(one.stream_id)
            if openings.begin(one, chance.choice("abc")):
                open_now.append(one)
        elif open_now:
            openings.answered(open_now.pop(chance.randrange(len(open_now))))
        while following := openings.next():
            open_now.append(following)
        seen |= {one.stream_id for one in open_now}
        assert len(open_now) <= 6
    while open_now:
        openings.answered(open_now.pop())
        while following := openings.next():
            open_now.append(following)
            seen.add(following.stream_id)
    assert seen == wanted
