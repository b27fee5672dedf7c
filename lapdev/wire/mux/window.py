"""How large a window has to be: about twice what its reader takes in one round trip.

Less would make the sender wait for credit; more only fills queues in between, where later bytes
cannot overtake. As a window is what limits the reader at first, it doubles each round trip until
it no longer is. A reader that has become slow is given less again.
"""

from __future__ import annotations


class Rate:
    """What passed a counter per round trip."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count = 0
        self._since = -1.0

    def wanted(self, count: int, now: float, round_trip: float) -> int:
        """The window for what has passed since the last answer; -1: too early to tell."""
        elapsed = now - self._since
        if self._since < 0 or count < self._count:
            self._count, self._since = count, now
            return -1
        if elapsed < round_trip or elapsed <= 0:
            return -1
        wanted = int(2 * (count - self._count) * round_trip / elapsed)
        self._count, self._since = count, now
        return wanted


def next_window(window: int, wanted: int, least: int, most: int) -> int:
    """The window after a measurement: grown at once, shrunk by halves."""
    if wanted > window:
        return max(min(wanted, 2 * window, most), window)
    if wanted < window // 4:
        return max(window // 2, least)
    return window
