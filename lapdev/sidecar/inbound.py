"""One service port: accepts, finds out what is spoken, and hands on to the HTTP or the raw path."""

from __future__ import annotations

import asyncio

from lapdev.log import get_logger
from lapdev.model import Protocol, SidecarPort
from lapdev.net.address import TcpAddress
from lapdev.net.http_server import HttpServer, ServerOptions
from lapdev.net.listener import Listener, listen
from lapdev.net.relay import Relay
from lapdev.routing.decide import decide
from lapdev.routing.table import Decision
from lapdev.sidecar.laptops import Laptops
from lapdev.sidecar.outbound import Outbound
from lapdev.sidecar.requests import RequestRouter, Shared
from lapdev.sidecar.tcp import FirstBytes
from lapdev.wire.http1 import INNER_LIMITS

DRAIN_TIMEOUT = 30.0

INNER_OPTIONS = ServerOptions(
    limits=INNER_LIMITS,
    # A pool inside the cluster decides itself how long it keeps a connection: a proxy that closes
    # first makes it fail now and then.
    idle_timeout=3_600.0,
    max_requests=1 << 62,
    write_timeout=300.0,
    drain_timeout=DRAIN_TIMEOUT,
)


class ServedPort:
    """A service port with everything that is open on it."""

    def __init__(self, port: SidecarPort, app_host: str, shared: Shared, laptops: Laptops) -> None:
        self.port = port
        self.tasks = shared.tasks
        self.outbound = Outbound(TcpAddress(app_host, port.target_port), laptops)
        self._shared = shared
        self._router = RequestRouter(shared, self.outbound, port.key)
        self._server = HttpServer(self._router.handle, INNER_OPTIONS)
        self._unsettled: set[FirstBytes] = set()
        self._joined: set[Relay] = set()
        self._changed = asyncio.Event()
        self._listener: Listener | None = None

    async def start(self, bind_host: str) -> str:
        """Connections are served; returns the address. Raises ConfigError."""
        where = TcpAddress(bind_host, self.port.proxy_port)
        self._listener = await listen(where, self._accepted)
        get_logger().info(
            "listener_opened",
            address=str(self._listener.address),
            target=f"{self.port.service}:{self.port.service_port}",
        )
        return str(self._listener.address)

    @property
    def open_connections(self) -> int:
        return len(self._server.connections) + len(self._unsettled) + len(self._joined)

    async def stop_accepting(self) -> None:
        """Idempotent."""
        if self._listener is not None:
            await self._listener.aclose()

    async def aclose(self) -> None:
        """Every connection has ended: by itself, or cut after the drain time. Idempotent."""
        await self.stop_accepting()
        for first in list(self._unsettled):
            first.transport.close()
        await asyncio.gather(self._server.aclose(), self._drain_raw())

    async def _drain_raw(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                while self._joined or self._unsettled:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for joined in list(self._joined):
                joined.abort()

    def _accepted(self) -> asyncio.Protocol:
        if self.port.protocol is Protocol.HTTP:
            return self._server.connection()
        first = FirstBytes(self, raw=self.port.protocol is Protocol.TCP)
        self._unsettled.add(first)
        return first

    # For FirstBytes

    def headerless(self) -> Decision:
        return decide(self._shared.routes.table, None, False, self.port.key)

    def became_http(self, first: FirstBytes) -> None:
        self.connection_over(first)
        connection = self._server.connection()
        coming = self.tasks.spawn(first.dialled(), "first connection handed on")
        first.transport.set_protocol(connection)
        connection.connection_made(first.transport)
        self._router.upstreams(connection).expect(coming, lambda: first.towards)
        connection.data_received(bytes(first.received))

    def became_raw(self, first: FirstBytes, joined: Relay) -> None:
        self.connection_over(first)
        self._joined.add(joined)
        self._shared.counters.raw_connections += 1

    def connection_over(self, first: FirstBytes) -> None:
        self._unsettled.discard(first)
        self._changed.set()

    def relay_over(self, joined: Relay) -> None:
        self._joined.discard(joined)
        self._changed.set()
