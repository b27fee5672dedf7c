"""How much may wait in front of a connection."""

from __future__ import annotations

from lapdev.net.pace import LEAST_BYTES, MOST_BYTES, Pace


def busy(pace: Pace, rate: int, seconds: float, begin: float = 0.0, step: float = 0.02) -> bool:
    """A writer that always has more than a line of `rate` bytes a second takes."""
    changed = False
    for tick in range(int(seconds / step)):
        now = begin + tick * step
        pace.paused(now, int(rate * (now - begin)))
        changed |= pace.resumed(now + step * 0.9, int(rate * (now - begin + step * 0.9)))
    return changed


def unhindered(pace: Pace, rate: int, seconds: float, begin: float = 0.0) -> bool:
    """A writer of messages that a line takes at once."""
    size, changed = rate // 1_000, False
    for tick in range(int(seconds * 1_000)):
        changed |= pace.sent(begin + tick / 1_000, (tick + 1) * size, size)
    return changed


def test_a_connection_begins_with_the_least() -> None:
    assert (Pace().burst, Pace().piece) == (LEAST_BYTES, LEAST_BYTES)


def test_on_a_slow_line_little_waits() -> None:
    pace = Pace()
    assert not busy(pace, 125_000, 2)
    assert (pace.burst, pace.piece) == (LEAST_BYTES, LEAST_BYTES)


def test_a_faster_line_holds_a_twentieth_of_a_second_and_shorter_messages() -> None:
    pace = Pace()
    assert busy(pace, 4_000_000, 2)
    assert (pace.burst, pace.piece) == (131_072, 16_384)
    assert busy(pace, 20_000_000, 2, begin=10)
    assert (pace.burst, pace.piece) == (262_144, 131_072)
    assert not busy(pace, 200_000_000, 2, begin=20)
    assert (pace.burst, pace.piece) == (MOST_BYTES, MOST_BYTES)


def test_a_line_that_never_makes_the_writer_wait_is_as_fast_as_what_it_took() -> None:
    pace = Pace()
    assert unhindered(pace, 500_000_000, 0.1)
    assert (pace.burst, pace.piece) == (MOST_BYTES, MOST_BYTES)
    assert not unhindered(pace, 100_000, 1, begin=10)
    assert (pace.burst, pace.piece) == (MOST_BYTES, MOST_BYTES)


def test_a_line_that_is_slow_for_a_moment_is_not_taken_for_a_slow_one() -> None:
    pace = Pace()
    unhindered(pace, 500_000_000, 0.1)
    assert not busy(pace, 10_000, 0.4, begin=1)
    assert pace.burst == MOST_BYTES
    assert busy(pace, 10_000, 1, begin=10)
    assert pace.burst == LEAST_BYTES


def test_a_writer_with_little_to_say_does_not_make_the_line_slow() -> None:
    pace = Pace()
    unhindered(pace, 500_000_000, 0.1)
    for number in range(1, 40):  # a large message now and then: it is over in a hundredth
        pace.sent(number, number * 400_000, 10_000)
        pace.paused(number + 0.04, number * 400_000)
        assert not pace.resumed(number + 0.05, number * 400_000 + 300_000)
        pace.sent(number + 0.55, number * 400_000 + 300_000, 10_000)
    assert pace.burst == MOST_BYTES
