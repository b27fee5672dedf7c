"""Waiting for a condition that callbacks may have made true, without polling or sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TIMEOUT = 10.0


class Watch:
    """Call it (with anything) whenever something may have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __call__(self, *_facts: object) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Returns once `condition()` is true; fails the test after `TIMEOUT` seconds."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
