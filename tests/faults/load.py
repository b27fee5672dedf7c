"""Load L: what one tenant's visitors do all the time, and how much of it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tests.faults.client import Client, Doors
from tests.faults.history import History
from tests.faults.pacing import Pace

MEGABYTE = 1_000_000
AGAIN_AFTER = 0.5
"""Seconds after which a stream that was cut is begun again."""


@dataclass(frozen=True, slots=True)
class Volume:
    """How much of everything."""

    requests: float = 50.0
    """A second; every tenth is a POST."""
    downloads: int = 5
    uploads: int = 5
    transfer_bytes: int = 50 * MEGABYTE
    transfer_rate: float = 2.0 * MEGABYTE
    websockets: int = 10
    websocket_interval: float = 1.0
    tcp: int = 2
    tcp_rate: float = 64_000.0

    def lighter(self, factor: float) -> Volume:
        """The same streams, with so much less in each."""
        return replace(
            self, requests=self.requests * factor, transfer_rate=self.transfer_rate * factor
        )


LOAD_L = Volume()
SHORT = Volume(
    requests=20,
    downloads=2,
    uploads=2,
    transfer_bytes=4 * MEGABYTE,
    websockets=3,
    websocket_interval=0.2,
    tcp=1,
)
TRANSFERS = Volume(
    requests=5, downloads=10, uploads=10, websockets=10, websocket_interval=0.05, tcp=0
)
"""Ten downloads, ten uploads and ten WebSockets whose echoes are never all back."""
NOTHING = Volume(requests=0, downloads=0, uploads=0, websockets=0, tcp=0)
HEALTHY = Volume(requests=10, downloads=0, uploads=0, websockets=1, tcp=1)


@asynccontextmanager
async def load(
    doors: Doors, history: History, volume: Volume, seed: int, tenant: str = "main"
) -> AsyncIterator[None]:
    """The load runs. Afterwards short requests have ended, and clients have ended their streams."""
    chance = random.Random(f"{seed}:{tenant}")
    client = Client(doors, history, tenant, chance)
    names = (f"{tenant}-{seed}-{number}" for number in itertools.count())
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as short, asyncio.TaskGroup() as group:
            doing = _streams(client, volume, names)
            running = [group.create_task(_again(do, stop)) for do in doing]
            if volume.requests:
                running.append(group.create_task(_requests(client, volume, names, short)))
            try:
                yield
            finally:
                stop.set()
                for task in running:
                    task.cancel()
    finally:
        client.close()


async def _requests(
    client: Client, volume: Volume, names: Iterator[str], short: asyncio.TaskGroup
) -> None:
    """New ones at their rate, whether or not those before were answered."""
    pace = Pace(volume.requests)
    for number, name in enumerate(names):
        size = client.random.choice((1, 300, 5_000, 70_000))
        do = client.post if number % 10 == 0 else client.get
        short.create_task(do(name, size))
        await pace.spent(1)


def _streams(
    client: Client, volume: Volume, names: Iterator[str]
) -> list[Callable[[], Awaitable[None]]]:
    size, rate = volume.transfer_bytes, volume.transfer_rate

    def fresh() -> str:
        return next(names)

    made: list[Callable[[], Awaitable[None]]] = []
    made += [lambda: client.download(fresh(), size, rate)] * volume.downloads
    made += [lambda: client.upload(fresh(), size, rate)] * volume.uploads
    made += [lambda: client.websocket(fresh(), volume.websocket_interval)] * volume.websockets
    made += [lambda: client.tcp(fresh(), size, volume.tcp_rate)] * volume.tcp
    return made


async def _again(do: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """One after the other, until the load stops."""
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        begun = loop.time()
        await do()
        if not stop.is_set() and loop.time() - begun < AGAIN_AFTER:
            await asyncio.sleep(AGAIN_AFTER)
