"""The least time there and back, of which windows are made."""

from __future__ import annotations

import pytest

from lapdev.wire.mux.round_trip import MEASURE_INTERVAL, PERIOD, QUIET_BYTES, RoundTrip


def measured(round_trip: RoundTrip, start: float, taken: float, data: int = 0) -> float:
    nonce = round_trip.start(start, 0)
    round_trip.answered(nonce, start + taken, data)
    return round_trip.minimum


def test_the_least_of_all_measurements_counts() -> None:
    round_trip = RoundTrip()
    taken = [measured(round_trip, at, t) for at, t in ((0.0, 0.05), (1.0, 0.08), (2.0, 0.03))]
    assert taken == pytest.approx([0.05, 0.05, 0.03])


def test_queues_of_our_own_making_never_raise_it_and_a_longer_way_does() -> None:
    round_trip = RoundTrip()
    measured(round_trip, 0.0, 0.02)
    for second in range(1, 40):
        assert measured(round_trip, second, 0.5, QUIET_BYTES + 1) == pytest.approx(0.02)
    for second in range(40, 40 + 2 * int(PERIOD) + 2):
        measured(round_trip, second, 0.08)
    assert round_trip.minimum == pytest.approx(0.08)


def test_an_answer_counts_once_and_only_to_the_last_question() -> None:
    round_trip = RoundTrip()
    first = round_trip.start(0.0, 0)
    second = round_trip.start(5.0, 0)
    round_trip.answered(first, 5.1, 0)
    assert round_trip.minimum == 0.0
    round_trip.answered(second, 5.2, 0)
    round_trip.answered(second, 5.0, 0)
    assert round_trip.minimum == pytest.approx(0.2)
    assert not round_trip.is_due(5.0 + MEASURE_INTERVAL / 2)
    assert round_trip.is_due(5.0 + MEASURE_INTERVAL)
