"""How much may wait in front of a connection, by how fast the connection is.

What waits in our buffer and in the kernel's cannot be overtaken any more: on a slow line a few
hundred kilobytes are seconds for the request that comes next. Too little makes a fast line wait
for us. So it begins with little, and the speed is measured while there is enough to say. Over TLS
the event loop keeps up to 64 KiB more, which nobody can reach.
"""

from __future__ import annotations

MOST_BYTES = 262_144
LEAST_BYTES = 8_192
BURST_SECONDS = 0.05
PIECE_SECONDS = 0.008
GROW_AFTER, SHRINK_AFTER = 0.05, 0.5
"""Seconds of measurement. A connection begins slowly, and a lost packet stops it for a while."""
IDLE = 0.05
"""After so long without a word a measurement begins anew: there was nothing to say."""


class Pace:
    """Of one connection. `written` is what has left our own buffer since it began."""

    __slots__ = ("_begun", "_last", "_paused_at", "_paused_for", "_written", "burst", "piece")

    def __init__(self) -> None:
        self.burst = LEAST_BYTES
        """Bytes that may wait, and leave at once."""
        self.piece = LEAST_BYTES
        """Of one message: what follows waits until it is over."""
        self._begun = 0.0
        self._written = 0
        self._last = -IDLE
        self._paused_at = 0.0
        self._paused_for = 0.0

    def sent(self, now: float, written: int, size: int) -> bool:
        """The line has taken all there was, at last `size` bytes. Returns whether `burst` grew."""
        if now - self._last > IDLE:
            self._begin(now, written - size)
        self._last = now
        return now - self._begun >= GROW_AFTER and self._measured(now, written, grow=True)

    def paused(self, now: float, written: int) -> None:
        """It takes no more for now."""
        if now - self._last > IDLE:
            self._begin(now, written)
        self._paused_at = self._last = now

    def resumed(self, now: float, written: int) -> bool:
        """It does again. Returns whether `burst` has changed."""
        self._last = now
        self._paused_for += now - self._paused_at
        elapsed = now - self._begun
        # It was the line that made it slow, and not for a moment only.
        slow = elapsed >= SHRINK_AFTER and 2 * self._paused_for >= elapsed
        return elapsed >= GROW_AFTER and self._measured(now, written, grow=not slow)

    def _begin(self, now: float, written: int) -> None:
        self._begun, self._written, self._paused_for = now, written, 0.0

    def _measured(self, now: float, written: int, *, grow: bool) -> bool:
        rate = (written - self._written) / (now - self._begun)
        burst, piece = _within(rate * BURST_SECONDS), _within(rate * PIECE_SECONDS)
        if grow and burst <= self.burst and piece <= self.piece:
            return False
        changed = burst != self.burst
        self.burst, self.piece = burst, piece
        self._begin(now, written)
        return changed


def _within(size: float) -> int:
    """A power of two near it, between the limits: what changes little changes nothing."""
    return 1 << (int(min(max(size, LEAST_BYTES), MOST_BYTES)).bit_length() - 1)
