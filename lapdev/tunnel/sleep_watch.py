"""Notices that the machine was asleep.

Timers do not count the time asleep, and the peer has not heard from us all the while: whoever
waits for something should ask again at once instead of waiting on. (Of a process that was stopped
on a machine that was awake, timers are late: see `wire.mux.liveness`.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

ASLEEP = 2.0
"""Seconds by which one clock must have run ahead of the other."""


def seconds_asleep() -> float:
    """How much longer the machine has been up than awake; only its changes mean something.

    Where the kernel does not count time asleep, a step of the wall clock looks the same: a probe
    too many does no harm.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    up = time.time() if boot is None else time.clock_gettime(boot)
    return up - time.monotonic()


class SleepWatch:
    """Looks at the clocks while it is started."""

    def __init__(
        self,
        on_wake: Callable[[], None],
        interval: float,
        clock: Callable[[], float] = seconds_asleep,
    ) -> None:
        self._on_wake = on_wake
        self._interval = interval
        self._clock = clock
        self._asleep = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Idempotent."""
        if self._timer is None:
            self._asleep = self._clock()
            self._arm()

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def _look(self) -> None:
        asleep = self._clock()
        was_asleep = abs(asleep - self._asleep) > ASLEEP
        self._asleep = asleep
        self._arm()
        if was_asleep:
            self._on_wake()
