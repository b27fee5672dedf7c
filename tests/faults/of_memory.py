"""Too much of everything for the memory a cloud may use: F20."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tests.faults.history import Operation, Outcome
from tests.faults.load import HEALTHY, LOAD_L, Volume, load
from tests.faults.slow_reader import read_slowly
from tests.faults.stage import Scenario, Stage

LIMIT = 256 * 2**20
SHARE = 0.95
"""It turns requests away from 90 % on; what it has taken before may still grow a little."""
TIMES = 10
READERS, READERS_AT_ONCE = 1_000, 25
LOOK_INTERVAL = 0.25
REST_SECONDS = 20.0
RSS_AFTER = 1.2
CROWDED = Volume(
    requests=3 * LOAD_L.requests,
    downloads=TIMES * LOAD_L.downloads,
    uploads=TIMES * LOAD_L.uploads,
    transfer_rate=LOAD_L.transfer_rate / TIMES,
    websockets=TIMES * LOAD_L.websockets,
    tcp=TIMES * LOAD_L.tcp,
    tcp_rate=LOAD_L.tcp_rate / TIMES,
)
"""Ten times the streams of load L. Two processors have no time for ten times its bytes, too."""


async def crowded(stage: Stage, minutes: float) -> None:
    """A crowd comes, a thousand readers that stand still among it, and goes again."""
    cloud, group = stage.world.cloud, stage.world.cloud_memory
    assert group is not None
    idle = await _rss(stage)
    main = stage.world.main.doors
    assert main is not None
    stop = asyncio.Event()
    with stage.fault("a crowd"):
        async with (
            load(main, stage.history, CROWDED, stage.seed + 7, "main"),
            asyncio.TaskGroup() as readers,
        ):
            begun, end = time.monotonic(), time.monotonic() + minutes * 60 * stage.scale
            coming = 0
            while (now := time.monotonic()) < end and cloud.answers:
                while coming < min(READERS, READERS_AT_ONCE * (now - begun)):
                    readers.create_task(read_slowly(main, f"crowd-{coming}", stop))
                    coming += 1
                stage.measure("cloud MiB at most", group.anonymous / 2**20)
                await asyncio.sleep(LOOK_INTERVAL)
            stop.set()
    most = stage.numbers["cloud MiB at most"]
    stage.check(most <= SHARE * LIMIT / 2**20, f"the cloud had {most:.0f} MiB")
    values = await cloud.metrics()
    stage.measure("turned away", values["lapdev_turned_away_total"])
    stage.measure("killed for memory", group.kills, 0)
    stage.check(cloud.answers, "the cloud has ended")
    await asyncio.sleep(REST_SECONDS)
    stage.measure("memory afterwards, times", await _rss(stage) / idle, RSS_AFTER)


async def _rss(stage: Stage) -> float:
    return (await stage.world.cloud.metrics())["process_resident_memory_bytes"]


def is_shed(stage: Stage, operation: Operation) -> bool:
    """While the crowd is there a request may be told 503; a raw connection is reset at once."""
    during = any(
        each.overlaps(operation.begun, operation.ended, 1.0) for each in stage.history.faults
    )
    # 502: an application on the same two processors that does not get to accept.
    told = operation.outcome == Outcome.REFUSED and operation.status in (502, 503)
    return during and (told or (operation.outcome == Outcome.CUT and not operation.moved))


MEMORY_FAULTS = (
    Scenario(
        "F20",
        "ten times load L and a thousand readers that stand still, within 256 MiB",
        partial(crowded, minutes=10),
        may_fail=is_shed,
        volume=HEALTHY,
        tenants=("main",),
        cloud_memory=LIMIT,
        rss_more=30 * 2**20,
        timed=False,
    ),
)
