"""A short, seeded pass of the fuzzers; `make fuzz` runs them for as long as it is told."""

from __future__ import annotations

import pytest

from tests.fuzz import sockets
from tests.fuzz.frames import FrameFuzz
from tests.fuzz.two_ends import run

pytestmark = pytest.mark.slow


def test_any_message_gives_events_or_a_protocol_error() -> None:
    fuzz = FrameFuzz(1)
    for _ in range(4_000):
        fuzz.step()
    assert len(fuzz.outcomes) > 500, "the mutants say too little that is new"


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_two_ends_agree_whatever_is_lost_between_them(first: int) -> None:
    sessions = [run(seed) for seed in range(first, first + 10)]
    assert sum(session.losses for session in sessions) > 50
    assert {len(session.directions) > 5 for session in sessions} == {True}


def test_nothing_is_lost_over_real_sockets_that_break() -> None:
    sessions = [sockets.run(seed, steps=200) for seed in range(4)]
    assert sum(session.losses for session in sessions) > 5
    assert {session.links for session in sessions} > {1}
