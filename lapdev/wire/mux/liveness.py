"""Is the peer still there? A ping after silence, and a verdict when it stays unanswered.

Any byte counts as a sign of life, but a write of ours never does: a one-way partition must be
noticed at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class LivenessOptions:
    """Seconds."""

    ping_interval: float = 10.0
    dead_timeout: float = 10.0
    """From an unanswered ping to the verdict."""
    wake_probe_timeout: float = 3.0
    """The same after this process itself was stopped or asleep."""
    stall: float = 2.0
    """A timer that fires this late means we were not running."""


class Verdict(Enum):
    WAIT = auto()
    PROBE = auto()
    DEAD = auto()


class Liveness:
    __slots__ = ("_deadline", "_options", "_probing")

    def __init__(self, options: LivenessOptions) -> None:
        self._options = options
        self._deadline = 0.0
        self._probing = False

    def heard(self, now: float) -> None:
        self._deadline = now + self._options.ping_interval
        self._probing = False

    def next_deadline(self) -> float:
        return self._deadline

    def probe(self, now: float) -> None:
        """The owner asks now, because it knows that it was asleep."""
        self._probing = True
        self._deadline = now + self._options.wake_probe_timeout

    def handle_timeout(self, now: float) -> Verdict:
        """What to do at `now`; a PROBE is to be sent as a PING."""
        if now < self._deadline:
            return Verdict.WAIT
        # After a stop the answer may be waiting in the socket, or the peer may have given us up:
        # ask once more, and do not wait long.
        stalled = now - self._deadline > self._options.stall
        if self._probing and not stalled:
            return Verdict.DEAD
        self._probing = True
        options = self._options
        self._deadline = now + (options.wake_probe_timeout if stalled else options.dead_timeout)
        return Verdict.PROBE
