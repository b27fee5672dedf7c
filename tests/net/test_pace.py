"""How much may wait in front of a connection."""

from __future__ import annotations

from lapdev.net.pace import LEAST_BYTES, MOST_BYTES, Pace


def busy(pace: Pace, rate: int, seconds: float, begin: float = 0.0, step: float = 0.02) -> None:
    """A writer that always has more than a line of `rate` bytes a second takes."""
    for tick in range(int(seconds / step)):
        now = begin + tick * step
        pace.paused(now, int(rate * (now - begin)))
        pace.resumed(now + step / 2, int(rate * (now - begin + step / 2)))


def test_a_connection_begins_with_the_most() -> None:
    assert (Pace().burst, Pace().piece) == (MOST_BYTES, MOST_BYTES)


def test_on_a_slow_line_little_waits() -> None:
    pace = Pace()
    busy(pace, 125_000, 2)
    assert (pace.burst, pace.piece) == (LEAST_BYTES, LEAST_BYTES)


def test_a_faster_line_holds_a_twentieth_of_a_second_and_shorter_messages() -> None:
    pace = Pace()
    busy(pace, 4_000_000, 2)
    assert (pace.burst, pace.piece) == (131_072, 16_384)
    busy(pace, 20_000_000, 2, begin=10)
    assert (pace.burst, pace.piece) == (262_144, 131_072)
    busy(pace, 200_000_000, 2, begin=20)
    assert (pace.burst, pace.piece) == (MOST_BYTES, MOST_BYTES)


def test_a_line_that_is_slow_for_a_moment_is_not_taken_for_a_slow_one() -> None:
    pace = Pace()
    busy(pace, 10_000, 0.4)
    assert pace.burst == MOST_BYTES


def test_it_grows_sooner_than_it_shrinks() -> None:
    pace = Pace()
    busy(pace, 100_000, 2)
    assert pace.burst == LEAST_BYTES
    busy(pace, 100_000_000, 0.1, begin=10)
    assert pace.burst == MOST_BYTES


def test_a_writer_with_little_to_say_does_not_make_the_line_slow() -> None:
    pace = Pace()
    for number in range(20):  # a large message a second: it is over in a hundredth
        pace.paused(number, number * 400_000)
        pace.resumed(number + 0.01, number * 400_000 + 300_000)
    assert pace.burst == MOST_BYTES


def test_it_is_told_when_it_has_changed() -> None:
    pace = Pace()
    pace.paused(0.0, 0)
    assert pace.resumed(1.0, 100_000)
    pace.paused(1.0, 100_000)
    assert not pace.resumed(2.0, 200_000)
