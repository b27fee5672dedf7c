"""Sidecars as their manager sees them: real tunnels to a real sidecar listener."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.manager.credentials import PodTokens
from lapdev.manager.sidecar_door import POD_PATH, sidecar_door
from lapdev.manager.sidecars import SidecarFeed
from lapdev.model import RouteSnapshot, SidecarIdentity
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.net.tasks import Tasks
from lapdev.tunnel import TunnelServer, TunnelServerOptions, Uplink, UplinkOptions
from lapdev.wire.control import ApplyRoutes, Message, RoutesApplied
from tests.support.tunnel_ends import FAST, Watcher
from tests.support.watch import Watch


class Pod:
    """A sidecar's end of the tunnel: holds routes by the sidecar's rule, and remembers them."""

    def __init__(self, options: UplinkOptions) -> None:
        self.watcher = Watcher(answer=self._answer)
        self.uplink = Uplink(options, self.watcher)
        self.held: list[RouteSnapshot] = []
        """Every snapshot that took force."""
        self.newest = RoutesApplied(0, "")

    def _answer(self, message: Message) -> Message:
        assert isinstance(message, ApplyRoutes)
        snapshot = message.snapshot
        if snapshot.generation >= self.newest.generation:
            self.held.append(snapshot)
            self.newest = RoutesApplied(snapshot.generation, snapshot.digest)
        return self.newest

    def cut(self) -> None:
        """The connection is gone without a word."""
        assert self.uplink.tunnel is not None
        self.uplink.tunnel._links[0].websocket.abort()

    @property
    def calls(self) -> int:
        return len(self.watcher.calls)


@dataclass
class PodHost:
    """A feed with its listener, and the pods connected to it."""

    address: str
    tasks: Tasks
    tokens: PodTokens
    feed: SidecarFeed
    server: TunnelServer
    applied: Watch = field(default_factory=Watch)
    """Called whenever what a replica holds has changed."""

    def dial(self, token: str, instance: str = "one") -> Pod:
        """A sidecar that is connecting with `token`."""
        options = UplinkOptions(
            self.address, POD_PATH.decode(), token, "sidecar", instance, tunnel=FAST
        )
        pod = Pod(options)
        self.tasks.spawn(pod.uplink.run(), "pod")
        return pod

    async def connect(self, identity: SidecarIdentity) -> Pod:
        """A sidecar with a token of its own, connected."""
        pod = self.dial(self.tokens.issue(identity), identity.pod)
        await pod.watcher.wait_until(lambda seen: bool(seen.up))
        return pod


@asynccontextmanager
async def pod_host(folder: Path) -> AsyncIterator[PodHost]:
    """A sidecar listener on a Unix socket in `folder`; everything is closed at the end."""
    tokens = PodTokens()
    async with Tasks() as tasks:
        feed = SidecarFeed(tokens, tasks)
        server = TunnelServer(feed, TunnelServerOptions("manager", FAST))
        http = HttpServer(sidecar_door(feed.authenticate, server))
        listener = await listen(f"unix:{folder}/m", http.connection)
        host = PodHost(str(listener.address), tasks, tokens, feed, server)
        feed.on_applied = host.applied
        async with Tasks() as dialling:
            host.tasks = dialling
            yield host
        await listener.aclose()
        await server.aclose()
        await http.aclose()
