"""When to dial again."""

from __future__ import annotations

from lapdev.tunnel.back_off import BackOff
from lapdev.tunnel.options import TunnelOptions


def highest(back_off: BackOff, now: float, tries: int) -> list[float]:
    return [back_off.delay(now) for _ in range(tries)]


def test_the_first_try_is_at_once_and_the_ceiling_doubles_to_five_seconds() -> None:
    ceilings = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    seen = [0.0] * len(ceilings)
    for _ in range(300):
        delays = highest(BackOff(TunnelOptions(), 0.0), 0.0, len(ceilings))
        for at, (delay, ceiling) in enumerate(zip(delays, ceilings, strict=True)):
            assert 0.0 <= delay <= ceiling
            seen[at] = max(seen[at], delay)
    assert all(
        most > 0.8 * ceiling for most, ceiling in zip(seen, ceilings, strict=True) if ceiling
    )


def test_after_ten_minutes_the_ceiling_is_ten_seconds() -> None:
    back_off = BackOff(TunnelOptions(), 0.0)
    highest(back_off, 0.0, 20)
    assert max(highest(back_off, 599.0, 300)) <= 5.0
    assert 5.0 < max(highest(back_off, 600.0, 300)) <= 10.0


def test_a_connection_that_lasted_begins_anew_and_one_that_did_not_goes_on() -> None:
    back_off = BackOff(TunnelOptions(), 0.0)
    highest(back_off, 0.0, 10)
    back_off.connection_lost(up_since=100.0, now=109.0)
    assert max(highest(back_off, 109.0, 100)) > 1.0
    back_off.connection_lost(up_since=200.0, now=210.0)
    assert back_off.delay(210.0) == 0.0
    assert back_off.delay(210.0) <= 0.25


def test_young_tries_are_short_and_old_ones_as_patient_as_a_handshake() -> None:
    back_off, seen = BackOff(TunnelOptions(), 0.0), []
    for _ in range(12):
        back_off.delay(0.0)
        seen.append(back_off.connect_timeout())
    assert seen[:5] == [2.0] * 5, "within the ten seconds that are left of the grace"
    assert seen[5:7] == [3.0, 4.5]
    assert seen[-1] == TunnelOptions().handshake_timeout
