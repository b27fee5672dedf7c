"""How close this process is to its limits, and what it turns away because of it.

Past 80 % of the memory it may use, or when its loop answers late for a second, it is *pressed*: no
new sessions of tunnels, and connections end with the answer in hand. Past 90 % it is *overloaded*:
requests are answered 503 with Retry-After and raw connections are reset, so that what is in flight
can still finish. A session that is held is resumed in any case: what is in flight hangs on it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import ClassVar

from lapdev.errors import Overloaded
from lapdev.log import get_logger
from lapdev.net.admin import Metric, counter, gauge
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.memory_limit import memory_limit

LOOK_INTERVAL = 0.25
PRESSED_SHARE = 0.80
OVERLOADED_SHARE = 0.90
LATE = 0.25
"""A loop this late is behind with its work; for a second, and it counts."""
LATE_LOOKS = 4
GIVE_BACK_LOOKS, CALM_LOOKS, MOST_LOOKS = 8, 40, 320
"""Two, ten and eighty seconds: to give back takes up to 15 ms for every hundred MiB of holes, so
that it is tried less often the less it gave."""
GROWTH = 8 * 2**20
"""So much above the least it ever had is worth a try without any pressure, too."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Pressure(IntEnum):
    NONE = 0
    PRESSED = 1
    OVERLOADED = 2


class Overload:
    """The pressure of the hour. One a process; without `watched` it stays NONE."""

    def __init__(
        self,
        limit: int,
        memory_used: Callable[[], int],
        give_back: Callable[[], None] = lambda: None,
        free: Callable[[], int] = lambda: 0,
    ) -> None:
        """`limit` in bytes, 0 for none. `give_back` returns to the kernel what is free: else the
        allocator keeps what a crowd has needed, and it would never be over. `free` says how much
        that is, given back or not."""
        self.pressure = Pressure.NONE
        self.turned_away = 0
        """Requests, raw connections and sessions."""
        self._limit = limit
        self._memory_used = memory_used
        self._give_back = give_back
        self._free = free
        self._free_then = 0
        """When it was given back last."""
        self._looks_since = 0
        self._late = 0
        self._looks_until_giving = 0
        self._pause = CALM_LOOKS
        self._least = 0

    def look(self, lateness: float = 0.0) -> None:
        """Measure, `lateness` seconds after it should have been done."""
        self._late = min(self._late + 1, LATE_LOOKS) if lateness > LATE else 0
        used = self._memory_used()
        self._least = min(self._least or used, used)
        self._looks_until_giving = max(self._looks_until_giving - 1, 0)
        self._looks_since += 1
        pressed = used > PRESSED_SHARE * self._limit > 0
        worth_a_look = used > self._least + GROWTH and self._looks_since >= CALM_LOOKS
        if worth_a_look and self._free() >= self._free_then + GROWTH:
            self._looks_until_giving, self._pause = 0, CALM_LOOKS  # much has been freed since
        if (pressed or used > self._least + GROWTH) and not self._looks_until_giving:
            self._give_back()
            self._free_then, self._looks_since = self._free(), 0
            before, used = used, self._memory_used()
            fruitful = before - used >= GROWTH
            self._pause = CALM_LOOKS if fruitful else min(2 * self._pause, MOST_LOOKS)
            self._looks_until_giving = GIVE_BACK_LOOKS if pressed else self._pause
        pressure = Pressure.PRESSED if self._late >= LATE_LOOKS else Pressure.NONE
        if self._limit and used > OVERLOADED_SHARE * self._limit:
            pressure = Pressure.OVERLOADED
        elif self._limit and used > PRESSED_SHARE * self._limit:
            pressure = Pressure.PRESSED
        if pressure != self.pressure:
            self._changed(pressure, used)
        self.pressure = pressure

    def guard(
        self, handler: Callable[[Exchange], None], hop: str, tunnels: bytes = b"/_lapdev/tunnel/"
    ) -> Callable[[Exchange], None]:
        """The handler, for requests that are not turned away. Those below `tunnels` are not:
        whether they begin a session is known from their first message, see `admit_session`."""

        def handle(exchange: Exchange) -> None:
            if self.pressure and not exchange.request.target.startswith(tunnels):
                exchange.keep_alive = False
                try:
                    self.admit()
                except Overloaded as exc:
                    respond_error(exchange, exc, hop)
                    return
            handler(exchange)

        return handle

    def admit(self) -> None:
        """Something may be taken on that is over soon.

        Raises:
            Overloaded: not now.
        """
        if self.pressure is Pressure.OVERLOADED:
            self.turned_away += 1
            raise Overloaded

    def admit_session(self) -> None:
        """Something may be taken on that stays.

        Raises:
            Overloaded: not now.
        """
        if self.pressure:
            self.turned_away += 1
            raise Overloaded

    def metrics(self) -> list[Metric]:
        return [
            gauge("lapdev_pressure", "0 none, 1 pressed, 2 overloaded.", int(self.pressure)),
            counter("lapdev_turned_away_total", "What was refused for overload.", self.turned_away),
        ]

    def _changed(self, pressure: Pressure, used: int) -> None:
        late = f", the loop {LATE:g} s late" if self._late >= LATE_LOOKS else ""
        get_logger().warning(
            "pressure_changed",
            status=pressure.name.lower(),
            error=f"{used >> 20} of {self._limit >> 20} MiB in use{late}",
            hint="give the process more memory, or it less to do" if pressure else "",
        )


def of_this_process() -> Overload:
    """Measures this process's resident memory against its control group or the machine."""
    return Overload(memory_limit(), resident_bytes, _allocator_gives_back(), _allocator_has_free())


def _allocator_gives_back() -> Callable[[], None]:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is None:
        return lambda: None
    return lambda: trim(0)


class _Mallinfo2(ctypes.Structure):
    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _allocator_has_free() -> Callable[[], int]:
    """How many bytes in all of its heaps nobody uses (mallinfo(3))."""
    info = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc 2.33
    if info is None:
        return lambda: 0
    info.restype = _Mallinfo2
    return lambda: int(info().fordblks)


def resident_bytes() -> int:
    """What this process holds of the machine's memory."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * _PAGE


@asynccontextmanager
async def watched(overload: Overload) -> AsyncIterator[Overload]:
    """It is looked at four times a second, within the block."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look(due: float) -> None:
        nonlocal timer
        now = loop.time()
        overload.look(now - due)
        timer = loop.call_later(LOOK_INTERVAL, look, now + LOOK_INTERVAL)

    timer = loop.call_soon(look, loop.time())  # type: ignore[assignment]
    try:
        yield overload
    finally:
        timer.cancel()
