"""Stands in for kube-proxy: a service's address and port lead to its ready pods in turn.

TCP connections are relayed as they are. While no pod is ready nothing listens, so that a caller is
refused at once, as in a cluster.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from lapdev.errors import ClusterError, ConnectFailed
from lapdev.log import get_logger
from lapdev.net.address import InheritedAddress
from lapdev.net.listener import BACKLOG, Listener, dial, listen
from lapdev.net.relay import Relay, Waiting, relay_waiting
from lapdev.net.tasks import Tasks

DIAL_TIMEOUT = 5.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Front:
    """One service port as pods dial it."""

    host: str
    port: int
    device: str
    """Only connections that enter by this bridge are taken; empty: all."""
    endpoints: Callable[[], tuple[str, ...]]


class ServiceProxy:
    """Listens for one service port while it has endpoints."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self._listener: Listener | None = None
        self._tasks = Tasks()
        self._relays: set[Relay] = set()
        self._turn = 0

    async def update(self) -> None:
        """Listening or not agrees with whether there are endpoints.

        Raises:
            ClusterError: the address cannot be listened on; says what to do.
        """
        if self.front.endpoints() and self._listener is None:
            fd = _bound_socket(self.front)
            self._listener = await listen(InheritedAddress(fd), lambda: _Caller(self))
        elif not self.front.endpoints() and self._listener is not None:
            await self.retire()

    async def retire(self) -> None:
        """Nothing listens any more; what is relayed goes on until one of its ends is over."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.aclose()

    @property
    def busy(self) -> bool:
        """A connection is relayed, or about to be."""
        return bool(self._relays or len(self._tasks))

    async def aclose(self) -> None:
        """Nothing listens and nothing is relayed. Idempotent."""
        await self.retire()
        await self._tasks.aclose()
        for joined in tuple(self._relays):
            joined.abort()

    def accept(self, caller: _Caller) -> None:
        self._tasks.spawn(self._serve(caller), f"service:{self.front.host}:{self.front.port}")

    async def _serve(self, caller: _Caller) -> None:
        try:
            upstream, waiting = await self._dial_any()
        except ConnectFailed as exc:
            get_logger().debug("connect_failed", target=self.front.host, error=exc.detail)
            _reset(caller.transport)
            return
        except asyncio.CancelledError:
            _reset(caller.transport)
            raise
        if caller.lost or waiting.lost:
            caller.transport.abort()
            upstream.abort()
            return
        self._relays.add(relay_waiting(caller, waiting, self._relays.discard))

    async def _dial_any(self) -> tuple[asyncio.Transport, Waiting]:
        endpoints = self.front.endpoints()
        self._turn += 1
        first = self._turn % max(1, len(endpoints))
        for endpoint in endpoints[first:] + endpoints[:first]:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT):
                    return await dial(endpoint, Waiting)
            except (ConnectFailed, TimeoutError):
                continue
        raise ConnectFailed(f"none of {len(endpoints)} pods accepts the connection")


class _Caller(Waiting):
    """A pod's connection, still until an endpoint is found."""

    def __init__(self, proxy: ServiceProxy) -> None:
        super().__init__()
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.accept(self)


def _bound_socket(front: Front) -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if front.device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, front.device.encode())
        sock.bind((front.host, front.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        hint = "stop what listens there"
        if exc.errno == errno.EACCES:
            hint = f"sysctl -w net.ipv4.ip_unprivileged_port_start={front.port}, or use isolation"
        elif exc.errno == errno.EADDRINUSE and not front.device:
            hint = (
                "what listens on every address of the machine answers there itself, past lapdev:"
                " without isolation let apps listen on $POD_IP"
            )
        raise ClusterError(
            f"pods cannot dial {front.host}:{front.port}: {exc.strerror}", hint=hint
        ) from exc
    return sock.detach()


def _reset(transport: asyncio.Transport) -> None:
    """The caller sees the connection reset, not an answer of no bytes."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
