"""How fast tunnels are taken on: a cloud that is back is not greeted by everybody at once.

Each new connection of a tunnel costs a handshake, and each new session a synchronisation with the
store. Whoever comes faster than that waits in line, and past a line of a few seconds is told when
to come back, which is cheap.
"""

from __future__ import annotations

import asyncio

from lapdev.errors import Overloaded

RATE = 50.0
"""Tunnel handshakes a second."""
LONGEST_WAIT = 4.0
"""Seconds; the other end gives up after ten."""


class Admission:
    """One place in the line after the other."""

    def __init__(self, rate: float = RATE, longest_wait: float = LONGEST_WAIT) -> None:
        self.turned_away = 0
        self._interval = 1.0 / rate
        self._longest_wait = longest_wait
        self._next = 0.0

    async def turn(self) -> None:
        """It is the caller's turn.

        Raises:
            Overloaded: the line is too long.
        """
        now = asyncio.get_running_loop().time()
        at = max(self._next, now)
        if at - now > self._longest_wait:
            self.turned_away += 1
            raise Overloaded("many tunnels are being opened at the moment")
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)
