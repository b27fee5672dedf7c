"""How much may wait in front of a connection, by how fast the connection is.

What waits in our buffer and in the kernel's cannot be overtaken any more: on a slow line a few
hundred kilobytes are seconds for the request that comes next. Too little makes a fast line wait
for us. So the speed is measured whenever the line, and not the writer, sets it: while writing is
paused.
"""

from __future__ import annotations

MOST_BYTES = 262_144
LEAST_BYTES = 16_384
BURST_SECONDS = 0.05
PIECE_SECONDS = 0.008
GROW_AFTER, SHRINK_AFTER = 0.05, 0.5
"""Seconds of measurement. A connection begins slowly, and a lost packet stops it for a while."""
IDLE = 0.05
"""A writer that pauses no sooner than so long after it could go on had nothing more to say."""


class Pace:
    """Of one connection. `written` is what has left our own buffer since it began."""

    __slots__ = ("_begun", "_resumed", "_written", "burst", "piece")

    def __init__(self) -> None:
        self.burst = MOST_BYTES
        """Bytes that may wait, and leave at once."""
        self.piece = MOST_BYTES
        """Of one message: what follows waits until it is over."""
        self._begun = -1.0
        self._written = 0
        self._resumed = -1.0

    def paused(self, now: float, written: int) -> None:
        """The line takes no more for now."""
        if self._begun < 0 or now - self._resumed > IDLE:
            self._begun, self._written = now, written

    def resumed(self, now: float, written: int) -> bool:
        """It does again. Returns whether `burst` has changed."""
        self._resumed = now
        elapsed = now - self._begun
        if self._begun < 0 or elapsed < GROW_AFTER:
            return False
        rate = (written - self._written) / elapsed
        burst = _within(rate * BURST_SECONDS)
        if burst < self.burst and elapsed < SHRINK_AFTER:
            return False
        changed = burst != self.burst
        self.burst, self.piece = burst, _within(rate * PIECE_SECONDS)
        self._begun, self._written = now, written
        return changed


def _within(size: float) -> int:
    """A power of two near it, between the limits: what changes little changes nothing."""
    return 1 << (int(min(max(size, LEAST_BYTES), MOST_BYTES)).bit_length() - 1)
