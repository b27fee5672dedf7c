"""Many managers that hold a tunnel and nothing else, in the rig's own process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lapdev.errors import NoRoute
from lapdev.log import configure
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel, TunnelHandler, Uplink, UplinkOptions, new_id
from lapdev.wire.control import Done, Message, SyncEnvironments, SyncNeeds, Target


@dataclass
class Crowd(TunnelHandler):
    """All of them; they serve nothing."""

    comings: int = 0
    """How often one of them has got its tunnel."""
    ups: dict[str, float] = field(default_factory=dict)
    """Session → when it came up last."""
    marked: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self) -> None:
        """From now on `since_mark` counts, and only who comes back from now on is up."""
        self.marked = time.monotonic()
        self.ups.clear()

    def since_mark(self) -> list[float]:
        return sorted(up - self.marked for up in self.ups.values())

    async def wait_up(self, count: int, timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while len(self.ups) < count:
                self._changed.clear()
                await self._changed.wait()

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.refuse(NoRoute("this manager serves nothing"))

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        return SyncNeeds(()) if isinstance(message, SyncEnvironments) else Done()

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self.comings += 1
        self.ups.setdefault(tunnel.session, time.monotonic())
        self._changed.set()

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        """It is dialled again."""

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self.ups.pop(tunnel.session, None)


@asynccontextmanager
async def crowd(token: str, port: int, count: int, instance: str = "") -> AsyncIterator[Crowd]:
    """`count` managers dial the cloud; with an `instance`, all claim to be that one process."""
    made = Crowd()
    configure("crowd", "error")  # that the cloud is away is no news
    address = f"http://127.0.0.1:{port}"
    async with Tasks() as tasks:
        for _ in range(count):
            name = instance or new_id()
            options = UplinkOptions(address, "/_lapdev/tunnel/manager", token, "manager", name)
            tasks.spawn(Uplink(options, made).run(), "manager of the crowd")
        yield made
