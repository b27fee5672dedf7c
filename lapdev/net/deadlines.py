"""One coarse sweep for all deadlines of a server: no timer per request.

A connection stores the loop time at which it must have moved on; once a second one callback looks
at every connection. A deadline is kept to within a second, which is what such deadlines are for.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

SWEEP_INTERVAL = 1.0

NEVER = math.inf


class Expirable(Protocol):
    @property
    def deadline(self) -> float:
        """Loop time after which `deadline_passed` is due; `NEVER` for none."""

    def deadline_passed(self) -> None: ...


class Sweep:
    """Watches the deadlines of whatever was added, while there is anything to watch."""

    __slots__ = ("_handle", "_interval", "_watched")

    def __init__(self, interval: float = SWEEP_INTERVAL) -> None:
        self._watched: set[Expirable] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._interval = interval

    def add(self, item: Expirable) -> None:
        self._watched.add(item)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._interval, self._sweep)

    def discard(self, item: Expirable) -> None:
        self._watched.discard(item)
        if not self._watched and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for item in [item for item in self._watched if item.deadline <= now]:
            item.deadline_passed()
        # Passing a deadline may have removed the last item, and with it the need to look again.
        self._handle = loop.call_later(self._interval, self._sweep) if self._watched else None
