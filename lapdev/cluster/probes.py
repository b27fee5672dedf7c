"""When a container counts as started, ready and alive: Kubernetes' thresholds over one question.

The first yes is asked for more often than the probe's period: nobody at a laptop waits ten seconds
to hear what is so already. Noes count at the pace of the period, as in Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lapdev.cluster.manifests import Probe

Ask = Callable[[], Awaitable[str]]
"""Empty: yes. Else why not."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses before the first yes. Seconds."""

    first: float
    longest: float
    growth: float = 1.5


EAGER = Pace(0.02, 0.5)
FRUGAL = Pace(0.1, 1.0)
"""For a question that starts a process."""


def pace_of(probe: Probe) -> Pace:
    return FRUGAL if probe.handler.kind == "exec" else EAGER


async def wait_yes(ask: Ask, pace: Pace = EAGER) -> None:
    """It has been answered with yes."""
    delay = pace.first
    while await ask():
        await asyncio.sleep(delay)
        delay = min(delay * pace.growth, pace.longest)


async def wait_started(probe: Probe, ask: Ask, say: Callable[[str], None]) -> str:
    """Empty once it is answered with yes; why not when it has failed for good.

    `say` hears every counted no.
    """
    now = asyncio.get_running_loop().time
    await asyncio.sleep(probe.initial_delay)
    pace = pace_of(probe)
    failures, delay, due = 0, pace.first, now()
    while True:
        asked = now()
        why = await ask()
        if not why:
            return ""
        if asked >= due:
            failures, due = failures + 1, asked + probe.period
            say(why)
        if failures >= probe.failure_threshold:
            return why
        await asyncio.sleep(min(delay, max(0.0, due - now())))
        delay = min(delay * pace.growth, pace.longest)


async def watch_ready(probe: Probe, ask: Ask, report: Callable[[bool, str], None]) -> None:
    """`report` hears every change, the first yes included, and each no while it is not ready.

    Runs until it is cancelled.
    """
    await asyncio.sleep(probe.initial_delay)
    pace = pace_of(probe)
    ready, once = False, False
    yes = no = 0
    delay = pace.first
    while True:
        why = await ask()
        yes, no = (0, no + 1) if why else (yes + 1, 0)
        if ready and no >= probe.failure_threshold:
            ready = False
            report(False, why)
        elif not ready and yes >= probe.success_threshold:
            ready = once = True
            report(True, "")
        elif not ready and why:
            report(False, why)
        await asyncio.sleep(probe.period if once else min(delay, probe.period))
        delay = min(delay * pace.growth, pace.longest)


async def watch_alive(probe: Probe, ask: Ask) -> str:
    """Why it is dead, once as many noes in a row have been counted as the probe allows."""
    await asyncio.sleep(probe.initial_delay)
    no, why = 0, ""
    while True:
        why = await ask()
        no = no + 1 if why else 0
        if no >= probe.failure_threshold:
            return why
        await asyncio.sleep(probe.period)
