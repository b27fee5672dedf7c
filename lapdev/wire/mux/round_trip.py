"""The least time a link takes there and back, measured with PING and PONG.

Windows grow by it, so it must not be taken for longer than it is: a window that is too large fills
queues, which make the next measurement longer still. What was measured while data filled the way
can therefore only lower the figure; it rises only by what was measured while the way was quiet.
"""

from __future__ import annotations

QUIET_BYTES = 65_536
"""The way was quiet if no more data than this came between a PING and its PONG."""
MEASURE_INTERVAL = 1.0
PERIOD = 10.0
"""The figure is the least of one such time."""


class RoundTrip:
    """Seconds. Of one connection: a new one starts anew."""

    __slots__ = ("_due", "_least", "_nonce", "_period_ends", "_received", "_sent_at", "minimum")

    def __init__(self) -> None:
        self.minimum = 0.0
        """0: not known yet."""
        self._nonce = 0
        self._sent_at = -1.0
        self._received = 0
        self._due = 0.0
        self._least = 0.0
        self._period_ends = 0.0

    @property
    def unanswered(self) -> bool:
        """The last PING is."""
        return self._sent_at >= 0

    def is_due(self, now: float) -> bool:
        return now >= self._due

    def start(self, now: float, received: int) -> int:
        """The nonce of a PING that leaves now; `received` is the link's count of data."""
        self._nonce += 1
        self._sent_at, self._received = now, received
        self._due = now + MEASURE_INTERVAL
        return self._nonce

    def answered(self, nonce: int, now: float, received: int) -> None:
        if nonce != self._nonce or self._sent_at < 0:
            return
        taken = max(now - self._sent_at, 0.000_05)
        self._sent_at = -1.0
        if not self.minimum or taken < self.minimum:
            self.minimum = taken
        if received - self._received > QUIET_BYTES:
            return
        self._least = min(self._least or taken, taken)
        if now >= self._period_ends:
            self.minimum, self._least = self._least, 0.0
            self._period_ends = now + PERIOD
