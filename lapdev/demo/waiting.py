"""Waiting for what other processes do: they have no event of ours to set, so we ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lapdev.errors import LapdevError

INTERVAL = 0.05

Probe = Callable[[], Awaitable[str]]
"""Says what is still wrong; empty when nothing is."""


class WaitTimeoutError(LapdevError):
    """It did not happen in time."""

    cause = "not_in_time"


async def wait_until(probe: Probe, timeout: float, on_problem: Callable[[str], None]) -> float:
    """Seconds until `probe` found nothing wrong. `on_problem` hears each new problem once.

    Raises:
        WaitTimeoutError: the last problem.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    problem = ""
    while now := await probe():
        if now != problem:
            on_problem(now)
            problem = now
        if loop.time() - started > timeout:
            raise WaitTimeoutError(f"not after {timeout:.0f} seconds: {problem}")
        await asyncio.sleep(INTERVAL)
    return loop.time() - started


def unheard(_: str) -> None:
    """For who does not want to hear the problems on the way."""
