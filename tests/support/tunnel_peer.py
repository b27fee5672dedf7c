"""An accepting end for whoever dials a tunnel: one path, one token, and a record of what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lapdev.errors import LapdevError, RemoteProtocolError
from lapdev.model import Identity, RoleName
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.tunnel import Stream, Tunnel, TunnelServer
from lapdev.wire.control import Message, Target
from lapdev.wire.http1 import header

Opened = Callable[[Stream, Target], None]


def refuses(stream: Stream, target: Target) -> None:
    stream.refuse(LapdevError("nothing is opened here"))


@dataclass(slots=True)
class TunnelPeer:
    """The handler of every tunnel that came in."""

    token: str
    opened: Opened = refuses
    """Called for each stream; a test may exchange it at any time."""
    address: str = ""
    paths: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    tunnels: list[Tunnel] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_up(self) -> Tunnel:
        """The newest tunnel that is connected."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: any(t.connected for t in self.tunnels))
        return next(tunnel for tunnel in reversed(self.tunnels) if tunnel.connected)

    async def wait_gone(self) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: all(t.closed for t in self.tunnels))

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        self.targets.append(target)
        self.opened(stream, target)

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        raise RemoteProtocolError("no calls here")

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self.tunnels.append(tunnel)
        self._notify()

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        self._notify()

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._notify()

    def _notify(self) -> None:
        from lapdev.net.tasks import spawn

        async def notify() -> None:
            async with self.changed:
                self.changed.notify_all()

        spawn(notify(), "tunnel peer notifies")


@asynccontextmanager
async def tunnel_peer(
    token: str, opened: Opened = refuses, address: str = "127.0.0.1:0"
) -> AsyncIterator[TunnelPeer]:
    """A listener that accepts tunnels with `token` from sidecars; `peer.address` is dialled."""
    peer = TunnelPeer(token, opened)
    tunnels = TunnelServer(peer)

    def handle(exchange: Exchange) -> None:
        peer.paths.append(exchange.request.target.decode())
        if header(exchange.request.headers, b"authorization") != f"Bearer {peer.token}".encode():
            exchange.respond(401, [], b"")
            return
        tunnels.accept(exchange, Identity(RoleName.SIDECAR, "someone"))

    server = HttpServer(handle)
    listener = await listen(address, server.connection)
    where = str(listener.address)
    peer.address = where if where.startswith("unix:") else f"http://{where}"
    try:
        yield peer
    finally:
        await listener.aclose()
        await tunnels.aclose()
        await server.aclose()
