"""Sending at a rate: a second's bytes a second, without a burst after a stall."""

from __future__ import annotations

import asyncio


class Pace:
    """Of one sender."""

    def __init__(self, rate: float) -> None:
        """`rate` in units a second."""
        self._rate = rate
        self._due = asyncio.get_running_loop().time()

    async def spent(self, units: float) -> None:
        """Returns when the next unit may go."""
        now = asyncio.get_running_loop().time()
        # Who was held up for long does not make up for it.
        self._due = max(self._due, now - 0.1) + units / self._rate
        await asyncio.sleep(max(self._due - now, 0.0))
