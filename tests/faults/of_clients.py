"""Clients that are slow on purpose: F10 and F11. Everybody else must not feel them."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from contextlib import suppress
from functools import partial

from tests.faults.checker import percentile
from tests.faults.history import SHORT as SHORT_KINDS
from tests.faults.history import Kind, Outcome
from tests.faults.load import HEALTHY, Volume, load
from tests.faults.slow_reader import read_slowly
from tests.faults.stage import Scenario, Stage, never_fails

READERS = 50
GROWTH_MIB = READERS * 2 * 256 / 1024
"""Two windows each."""
DRIPPERS, DRIP_INTERVAL, HEAD_SECONDS = 1_000, 10.0, 10.0
MIB = 2**20
ROUNDS, ROUND_SECONDS = 7, 5.0
KEPT = 0.9
DOWNLOADS = Volume(requests=0, downloads=50, uploads=0, transfer_rate=1e9, websockets=0, tcp=0)


async def slow_readers(stage: Stage, seconds: float) -> None:
    """Fifty clients take a kilobyte a second of a gigabyte each."""
    roles = (stage.world.cloud, stage.world.manager)
    before = [(await role.metrics())["process_resident_memory_bytes"] for role in roles]
    stop, doors = asyncio.Event(), stage.world.main.doors
    assert doors is not None
    with stage.fault("slow readers"):
        async with asyncio.TaskGroup() as group:
            readers = [
                group.create_task(read_slowly(doors, f"slow-{n}", stop)) for n in range(READERS)
            ]
            await stage.sleep(seconds)
            for role, was in zip(roles, before, strict=True):
                now = (await role.metrics())["process_resident_memory_bytes"]
                name = f"{role.name.partition('-')[0]} grew MiB"
                stage.measure(name, (now - was) / MIB, GROWTH_MIB)
            stop.set()
        stage.check(
            all(reader.result() >= 0 for reader in readers), "a slow reader read wrong bytes"
        )
    stage.measure("ahead of its reader KiB", max(await _ahead(stage, readers)) / 1024)


async def _ahead(stage: Stage, readers: list[asyncio.Task[int]]) -> list[int]:
    """How many bytes the application had written that its reader had not read."""
    sent: dict[str, int] = {}

    async def all_told() -> bool:
        for line in stage.world.main.executed():
            word, _, rest = line.partition(" ")
            name, _, size = rest.partition(" ")
            if word == "sent" and name.startswith("slow-"):
                sent[name] = int(size)
        return len(sent) == len(readers)

    await stage.world.wait(all_told, "the application has noticed", 30)
    return [sent.get(f"slow-{n}", 0) - reader.result() for n, reader in enumerate(readers)]


async def dripping_heads(stage: Stage, clients: int) -> None:
    """A thousand requests whose heads come a byte at a time: each is answered 408 and closed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = (await stage.world.cloud.metrics())["process_resident_memory_bytes"]
    begun = time.monotonic()
    with stage.fault("dripping heads"):
        async with asyncio.TaskGroup() as group:
            all_of_them = [group.create_task(_dripper(stage)) for _ in range(clients)]
            await asyncio.sleep(HEAD_SECONDS / 2)
            now = (await stage.world.cloud.metrics())["process_resident_memory_bytes"]
            stage.measure("cloud grew MiB", (now - before) / MIB, 100)
    ends = [task.result() for task in all_of_them]
    stage.measure("closed after s", max(seconds for _, seconds in ends), HEAD_SECONDS + 3)
    answered = sum(status == 408 for status, _ in ends)
    stage.measure("answered 408", answered)
    stage.check(answered == clients, f"{clients - answered} were not told 408")
    _measure_others(stage, begun)


async def _dripper(stage: Stage) -> tuple[int, float]:
    """Its status, and the seconds from the first byte until it was closed."""
    doors = stage.world.main.doors
    assert doors is not None
    reader, writer = await asyncio.open_connection(*doors.address)
    begun = time.monotonic()
    answer = b""
    try:
        for byte in b"GET / HTTP/1.1\r\nHost: ":
            writer.write(bytes([byte]))
            with suppress(TimeoutError):
                answer = await asyncio.wait_for(reader.read(), DRIP_INTERVAL)
                break
    except ConnectionError:
        pass
    finally:
        writer.close()
    words = answer.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 else 0), time.monotonic() - begun


def _measure_others(stage: Stage, begun: float) -> None:
    """How much slower short requests were than before."""
    short = [
        each
        for each in stage.history.operations
        if each.kind in SHORT_KINDS and each.tenant == "main" and each.outcome == Outcome.OK
    ]
    calm = percentile((each.seconds for each in short if each.ended < begun), 0.99)
    hit = percentile((each.seconds for each in short if each.begun > begun), 0.99)
    stage.measure("p99 of others, times", hit / calm if calm else 0.0)


async def one_that_stands_still(stage: Stage) -> None:
    """Fifty downloads over one link, in turns alone and beside one whose reader stands still."""
    doors = stage.world.main.doors
    assert doors is not None
    alone, beside = [], []
    async with load(doors, stage.history, DOWNLOADS, stage.seed + 63, "main"):
        await stage.sleep(ROUND_SECONDS)
        for number in range(ROUNDS):
            alone.append(await _throughput(stage))
            stop = asyncio.Event()
            with stage.fault("one stands still"):
                async with asyncio.TaskGroup() as group:
                    group.create_task(read_slowly(doors, f"still-{number}", stop))
                    await stage.sleep(1.0)  # until its windows are full, from end to end
                    beside.append(await _throughput(stage))
                    stop.set()
    stage.measure("MB a second alone", statistics.median(alone) / 1e6)
    stage.measure("MB a second beside it", statistics.median(beside) / 1e6)
    ratio = statistics.median(beside) / statistics.median(alone)
    stage.measure("throughput beside it, of alone", ratio)
    stage.check(ratio >= KEPT, f"of the others' throughput {ratio:.2f} is left, {KEPT} wanted")


async def _throughput(stage: Stage) -> float:
    """Bytes a second of all downloads together, for the seconds of a turn."""
    begun, before = time.monotonic(), _moved(stage)
    await stage.sleep(ROUND_SECONDS)
    return (_moved(stage) - before) / (time.monotonic() - begun)


def _moved(stage: Stage) -> int:
    everything = [*stage.history.operations, *stage.history.running.values()]
    return sum(each.moved for each in everything if each.kind is Kind.DOWNLOAD)


CLIENT_FAULTS = (
    Scenario(
        "F10",
        "fifty readers of a kilobyte a second",
        partial(slow_readers, seconds=60),
        may_fail=never_fails,
        volume=Volume(downloads=2, uploads=2),
        rss_more=20 * MIB,
    ),
    Scenario(
        "F11",
        "a thousand requests whose heads come a byte at a time",
        partial(dripping_heads, clients=DRIPPERS),
        may_fail=never_fails,
        volume=Volume(downloads=1, uploads=1, websockets=2, tcp=1),
        rss_more=30 * MIB,
    ),
    Scenario(
        "63",
        "fifty downloads beside one whose reader stands still",
        one_that_stands_still,
        may_fail=never_fails,
        volume=HEALTHY,
        links=1,
        rss_more=60 * MIB,
        timed=False,
    ),
)
