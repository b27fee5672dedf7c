"""Many changes, few reactions: what changed is collected and handed out in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

COALESCE_INTERVAL = 0.05
"""Seconds between two batches: one change is acted on at once, a burst only this often."""

Key = TypeVar("Key", bound=Hashable)


class Changes(Generic[Key]):
    """A set of keys that changed, for one taker."""

    __slots__ = ("_interval", "_marked", "_next", "_wake")

    def __init__(self, interval: float = COALESCE_INTERVAL) -> None:
        self._interval = interval
        self._marked: dict[Key, None] = {}
        self._next = 0.0
        self._wake = asyncio.Event()

    def mark(self, key: Key) -> None:
        """`key` will be in a batch from now on at the latest `interval` seconds after the last."""
        self._marked[key] = None
        self._wake.set()

    async def take(self) -> list[Key]:
        """The keys marked since the last batch, each once; waits for the first.

        Cancelling loses none.
        """
        await self._wake.wait()
        loop = asyncio.get_running_loop()
        if (early := self._next - loop.time()) > 0:
            await asyncio.sleep(early)
        self._next = loop.time() + self._interval
        self._wake.clear()
        batch, self._marked = list(self._marked), {}
        return batch
