"""F26: load L for an hour, with a fault every thirty seconds; memory must not grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import httpx

from tests.faults import network
from tests.faults.checker import slope
from tests.faults.history import SHORT as SHORT_KINDS
from tests.faults.history import Operation, Outcome
from tests.faults.load import LOAD_L
from tests.faults.stage import HOST, Scenario, Stage, fails_during_the_fault
from tests.faults.world import LINK_PORT

EVERY_SECONDS = 30.0
LOOK_SECONDS = 5.0
SLOPE_MIB, SLOPE_SECONDS = 1.0, 600.0
AVAILABLE_PERCENT = 99.0
AFTER_SECONDS = 5.0
"""What begins so soon after a fault does not count as calm."""


async def _reset(stage: Stage) -> None:
    await network.reset(HOST, LINK_PORT)


async def _kill_socket(stage: Stage) -> None:
    network.kill_sockets(stage.world.manager.pid, HOST, LINK_PORT)


async def _silence(stage: Stage, seconds: float, directions: tuple[str, ...]) -> None:
    with network.silence(HOST, LINK_PORT, directions):
        await asyncio.sleep(seconds)


async def _freeze(stage: Stage, seconds: float) -> None:
    role = stage.random.choice([stage.world.manager, stage.world.cloud])
    role.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        role.thaw()


async def _kill_manager(stage: Stage) -> None:
    await stage.world.manager.kill()
    await stage.world.manager.start()
    await stage.world.wait_serving()


BOTH = (network.TO_CLOUD, network.TO_DIALLER)
FAULTS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "reset": _reset,
    "kill socket": _kill_socket,
    "silence 3 s": partial(_silence, seconds=3, directions=BOTH),
    "silence 15 s": partial(_silence, seconds=15, directions=BOTH),
    "silence 24 s": partial(_silence, seconds=24, directions=BOTH),
    "one way 18 s": partial(_silence, seconds=18, directions=(network.TO_DIALLER,)),
    "freeze 5 s": partial(_freeze, seconds=5),
}
ONLY_EARLY = {"kill manager": _kill_manager}
"""In the first eighth: a process needs minutes of faults until its heap is as large as it ever gets
(what is in flight in a silence is kept), and from the first quarter on its memory is watched."""


async def soak(stage: Stage, minutes: float) -> None:
    begun = time.monotonic()
    seconds = minutes * 60
    samples: dict[str, list[tuple[float, float]]] = {}
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(stage, samples, begun + seconds / 4))
        while time.monotonic() < begun + seconds - EVERY_SECONDS:
            beginning = time.monotonic()
            early = beginning < begun + seconds / 8
            choices = FAULTS | ONLY_EARLY if early else FAULTS
            name = stage.random.choice(sorted(choices))
            with stage.fault(name):
                await choices[name](stage)
                await stage.wait_link(True, 60)
                stage.measure("moving after s", await stage.wait_moving())
            await asyncio.sleep(max(beginning + EVERY_SECONDS - time.monotonic(), 5))
        watching.cancel()
    stage.renewed.add(stage.world.manager.name)
    stage.measure("faults", len(stage.history.faults))
    for role, points in samples.items():
        grown = slope(points) * SLOPE_SECONDS / 2**20
        limit = SLOPE_MIB if seconds >= 4 * SLOPE_SECONDS else float("inf")
        stage.measure(f"{role} MiB in 10 min", grown, limit)
    _measure_availability(stage)


async def _watch(stage: Stage, samples: dict[str, list[tuple[float, float]]], after: float) -> None:
    """Resident memory of the two processes that everything goes through."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if time.monotonic() < after:
            continue
        for role in (stage.world.cloud, stage.world.manager):
            if role.answers:
                with suppress(httpx.HTTPError):
                    values = await role.metrics()
                    rss = values["process_resident_memory_bytes"]
                    samples.setdefault(role.name, []).append((time.monotonic(), rss))


def _measure_availability(stage: Stage) -> None:
    def calm(operation: Operation) -> bool:
        faults = stage.history.faults
        return not any(
            each.overlaps(operation.begun, operation.ended, AFTER_SECONDS) for each in faults
        )

    short = [each for each in stage.history.operations if each.kind in SHORT_KINDS and calm(each)]
    good = sum(each.outcome == Outcome.OK for each in short)
    share = 100 * good / len(short) if short else 100.0
    stage.measure("available in calm %", share)
    stage.check(
        share >= AVAILABLE_PERCENT,
        f"only {share:.2f} % of short requests were answered in calm times",
    )


def soak_of(minutes: float) -> Scenario:
    return Scenario(
        "soak",
        f"load L and a fault every {EVERY_SECONDS:g} s for {minutes:g} minutes",
        partial(soak, minutes=minutes),
        may_fail=fails_during_the_fault,
        warm_up=20,
        recovery=20,
        volume=LOAD_L,
    )
