"""The downstream side of HTTP/1.1: what accepts, and what its connections have in common.

`HttpServer` makes one `HttpConnection` per accepted socket and hands each request, as an
`Exchange`, to the role's handler. Nothing here knows where a request goes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lapdev.errors import RemoteProtocolError
from lapdev.log import get_logger
from lapdev.net.deadlines import Sweep
from lapdev.net.exchange import Exchange
from lapdev.net.http_connection import HttpConnection
from lapdev.wire.http1 import PUBLIC_LIMITS, Limits

FAREWELL_TIMEOUT = 1.0
"""A websocket's client has this long to answer that we go away."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Limits and deadlines of a listener. Seconds and bytes."""

    limits: Limits = field(default=PUBLIC_LIMITS)
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_timeout: float = 60.0
    write_timeout: float = 60.0
    """How long a client that has an answer to read may take none of it."""
    max_requests: int = 1_000
    drain_timeout: float = 30.0
    sweep_interval: float = 1.0


@dataclass(frozen=True, slots=True)
class Leaving:
    """How a server ends. Seconds, all within the server's `drain_timeout`."""

    idle_timeout: float = 0.0
    """How long a client that just had an answer may go on to its next request, which is its last.
    Without it a request may be on its way to a connection that is closed at this very moment."""
    switched_timeout: float = 0.0
    """How long connections that carry another protocol (websockets) may go on."""


NOW = Leaving()


class Switched(Protocol):
    """A connection that was an exchange's, and carries another protocol now."""

    def leave(self) -> None:
        """The client is told that we go away, in the words of its protocol."""

    def abort(self) -> None: ...


class HttpServer:
    """Serves HTTP/1.1 with `handler`, which is called with each request's head parsed.

    The handler must not block; an exception it raises is answered with a status and logged.
    """

    def __init__(
        self, handler: Callable[[Exchange], None], options: ServerOptions | None = None
    ) -> None:
        self.handler = handler
        self.options = options or ServerOptions()
        self.connections: set[HttpConnection] = set()
        self.sweep = Sweep(self.options.sweep_interval)
        self.switched: set[Switched] = set()
        self.draining = False
        self.leaving = Leaving()
        self.on_bad_request: Callable[[HttpConnection, RemoteProtocolError], None] = (
            _log_bad_request
        )
        self._drained = asyncio.Event()

    def connection(self) -> HttpConnection:
        """The protocol for one accepted socket: pass this method as a protocol factory."""
        return HttpConnection(self)

    async def aclose(self, leaving: Leaving = NOW) -> None:
        """Connections finish what they are in within `drain_timeout`, or are cut. Idempotent."""
        self.draining, self.leaving = True, leaving
        loop = asyncio.get_running_loop()
        began = loop.time()
        for connection in list(self.connections):
            connection.drain()
        if not await self._wait(lambda: not self.connections, self.options.drain_timeout):
            for connection in list(self.connections):
                connection.abort()
        left = began + leaving.switched_timeout - loop.time()
        if await self._wait(lambda: not self.switched, left):
            return
        for switched in list(self.switched):
            switched.leave()
        if not await self._wait(lambda: not self.switched, FAREWELL_TIMEOUT):
            for switched in list(self.switched):
                switched.abort()

    async def _wait(self, over: Callable[[], bool], seconds: float) -> bool:
        """Whether it was over in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not over():
                    self._drained.clear()
                    await self._drained.wait()
        return over()

    def forget(self, connection: HttpConnection) -> None:
        self.sweep.discard(connection)
        self.connections.discard(connection)
        self._drained.set()

    def forget_switched(self, switched: Switched) -> None:
        self.switched.discard(switched)
        self._drained.set()


def _log_bad_request(connection: HttpConnection, error: RemoteProtocolError) -> None:
    get_logger().info(
        "request_refused",
        conn_id=connection.conn_id,
        status=error.answer_status,
        error=error.detail,
    )
