"""Raw TCP: a port of this machine each, whose connections go to one service port of a preview, or
to what a devbox exposes.

A connection becomes a stream through a tunnel; its bytes are relayed and never looked at. It
carries no credential and names no branch: who reaches the port reaches what is behind it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.pairing import ACCEPT_TIMEOUT
from lapdev.cloud.refusals import told
from lapdev.cloud.ways import Ways
from lapdev.errors import (
    ConfigError,
    Conflict,
    ConnectTimeout,
    LapdevError,
    NotReady,
    StreamRefused,
)
from lapdev.log import AccessLine, AccessLog, get_logger
from lapdev.net.address import TcpAddress
from lapdev.net.listener import Listener, bind_tcp
from lapdev.net.relay import Relay, Waiting, relay_waiting, reset
from lapdev.net.sockets import ListeningSockets
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import PreviewEntry
from lapdev.tunnel import Tunnel
from lapdev.wire.control import Target

_RANGE = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/\s]+))"
    r":(?P<first>[0-9]{1,5})-(?P<last>[0-9]{1,5})"
)


DRAIN_TIMEOUT = 5.0
"""A database connection in a pool does not end because we would like to: shorter than for HTTP."""


@dataclass(frozen=True, slots=True)
class TcpRange:
    """Where raw TCP previews are served; both ports included."""

    host: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{TcpAddress(self.host, self.first)}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def choose(self, taken: Collection[int]) -> int:
        """A port of the range that nobody has. Any of them, so that whoever still dials the port of
        a preview that is gone does not meet the next one.

        Raises:
            Conflict: there is none.
        """
        free = [port for port in range(self.first, self.last + 1) if port not in taken]
        for port in secrets.SystemRandom().sample(free, len(free)):
            try:
                bind_tcp(TcpAddress(self.host, port)).close()
            except OSError:
                continue
            return port
        raise Conflict(
            f"no port of {self} is free for a raw TCP preview",
            hint="remove one with `lapdev preview rm LABEL`, or start the cloud with a wider range",
        )

    def choose_exactly(self, port: int, taken: Collection[int]) -> int:
        """This port.

        Raises:
            ConfigError: it is not in the range.
            Conflict: somebody has it.
        """
        if port not in self:
            raise ConfigError(
                f"port {port} is not in {self}", hint="the cloud's --tcp-previews says which are"
            )
        try:
            if port in taken:
                raise OSError
            bind_tcp(TcpAddress(self.host, port)).close()
        except OSError as exc:
            raise Conflict(f"port {port} is taken", hint="leave it out: any will do") from exc
        return port


def parse_tcp_range(text: str) -> TcpRange | None:
    """The range that the setting `tcp_previews` names; None when it is empty.

    Raises:
        ConfigError: it is not HOST:FIRST-LAST, or a range without ports.
    """
    if not text:
        return None
    found = _RANGE.fullmatch(text)
    hint = "write HOST:FIRST-LAST, as in 127.0.0.1:20000-20099"
    if found is None:
        raise ConfigError(f"tcp_previews {text!r:.80} is not a range of ports", hint=hint)
    first, last = int(found["first"]), int(found["last"])
    if not 0 < first <= last < 65536:
        raise ConfigError(
            f"tcp_previews {text!r}: {first} to {last} is not a range of ports from 1 to 65535",
            hint=hint,
        )
    return TcpRange(found["v6"] or found["host"], first, last)


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """Where the connections to one port go."""

    port: int
    ways: Ways
    owner: object
    """Whose tunnels lead there, as `ways` knows them."""
    target: Target
    shown: str
    """What access lines call it."""
    environment: str = ""
    on_over: Callable[[AccessLine], None] | None = None
    """Gets each connection's line, too."""

    @classmethod
    def of(cls, entry: PreviewEntry, clusters: ClusterLinks) -> TcpRoute:
        """The route of a raw TCP preview."""
        port, target = entry.preview.tcp_port, entry.paths.only
        assert port is not None, "a raw TCP preview has a port"
        assert target is not None, "a raw TCP preview has no paths"
        shown = f"{target.service}:{target.port}"
        environment = entry.environment
        return cls(port, clusters, environment, target, shown, environment.name)


@dataclass(slots=True)
class _Served:
    """One route that is listened for."""

    route: TcpRoute
    listener: Listener
    connections: set[asyncio.Transport] = field(default_factory=set)

    async def aclose(self) -> None:
        await self.listener.aclose()
        for transport in list(self.connections):
            reset(transport)


class TcpPreviews:
    """Listens for every raw TCP preview and exposure there is."""

    def __init__(
        self,
        ports: TcpRange | None,
        tasks: Tasks,
        access: AccessLog,
        sockets: ListeningSockets | None = None,
    ) -> None:
        self.ports = ports
        self.admit: Callable[[], None] = lambda: None
        """Raises LapdevError when no connection is to be taken on: it is reset."""
        self._sockets = sockets or ListeningSockets()
        self._tasks = tasks
        self._access = access
        self._served: dict[str, _Served] = {}
        self._problems: dict[str, str] = {}
        self._number = 0
        self._refreshing = asyncio.Lock()
        self._parted = asyncio.Event()

    @property
    def listening(self) -> int:
        """How many previews are listened for."""
        return len(self._served)

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(len(served.connections) for served in self._served.values())

    def problem(self, label: str) -> str:
        """Why nobody listens for the preview; empty when somebody does."""
        if label in self._served:
            return ""
        return self._problems.get(label, "not listened for yet")

    async def refresh(self, routes: Mapping[str, TcpRoute]) -> None:
        """Exactly these, by label, are listened for, as far as their ports are free: what stood in
        the way before is tried again.
        """
        async with self._refreshing:
            for label in [label for label in self._served if label not in routes]:
                await self._served.pop(label).aclose()
            self._problems = {k: v for k, v in self._problems.items() if k in routes}
            for label, route in routes.items():
                served = self._served.get(label)
                if served is not None and served.route.port != route.port:
                    await self._served.pop(label).aclose()
                    served = None
                if served is None:
                    await self._serve(label, route)
                else:
                    served.route = route

    async def _serve(self, label: str, route: TcpRoute) -> None:
        port = route.port
        if self.ports is None or port not in self.ports:
            self._note(label, route, f"port {port} is not in {self.ports or 'tcp_previews'}")
            return

        def connection() -> _Arrived:
            return _Arrived(self, label)

        try:
            listener = await self._sockets.listen(TcpAddress(self.ports.host, port), connection)
        except ConfigError as exc:
            self._note(label, route, exc.detail)
            return
        self._problems.pop(label, None)
        self._served[label] = _Served(route, listener)

    def _note(self, label: str, route: TcpRoute, problem: str) -> None:
        if self._problems.get(label) != problem:
            environment = route.environment
            get_logger().warning(
                "tcp_preview_not_served", environment=environment, route=label, error=problem
            )
        self._problems[label] = problem

    async def drain(self, seconds: float = DRAIN_TIMEOUT) -> None:
        """Nobody listens any more; connections have had `seconds` to come to their end."""
        for served in self._served.values():
            await served.listener.aclose()
        try:
            async with asyncio.timeout(seconds):
                while self.connections:
                    self._parted.clear()
                    await self._parted.wait()
        except TimeoutError:
            await self.aclose()

    async def aclose(self) -> None:
        """Nobody listens, and no connection is open. Idempotent."""
        while self._served:
            await self._served.popitem()[1].aclose()

    # Connections

    def arrived(self, label: str, near: Waiting) -> None:
        """A client has connected."""
        served = self._served.get(label)
        if served is None:  # removed in this very moment
            reset(near.transport)
            return
        served.connections.add(near.transport)
        self._number += 1
        self._tasks.spawn(self._join(served, near), f"tcp preview {label} {self._number}")

    async def _join(self, served: _Served, near: Waiting) -> None:
        route = served.route
        line = AccessLine(
            method="STREAM",
            route=route.shown,
            host=str(served.listener.address),
            environment=route.environment,
        )
        started = asyncio.get_running_loop().time()

        def over() -> None:
            served.connections.discard(near.transport)
            self._parted.set()
            line.duration_ms = (asyncio.get_running_loop().time() - started) * 1e3
            self._access.line(line)
            if route.on_over is not None:
                route.on_over(line)

        def parted(joined: Relay) -> None:
            line.bytes_in, line.bytes_out = joined.bytes_from_a, joined.bytes_from_b
            over()

        try:
            self.admit()
            far = await _reach(route)
        except LapdevError as exc:
            line.error = told(exc).cause
        except BaseException:
            reset(near.transport)
            over()
            raise
        else:
            relay_waiting(near, far, parted)
            return
        reset(near.transport)  # there is no way to say why on a bare connection
        over()


class _Arrived(Waiting):
    """A client's connection, held still until the far end has accepted."""

    def __init__(self, previews: TcpPreviews, label: str) -> None:
        super().__init__()
        self._previews = previews
        self._label = label

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._previews.arrived(self._label, self)


async def _reach(route: TcpRoute) -> Waiting:
    """The accepted far end, held still."""
    tunnel = await route.ways.wait_tunnel(route.owner)
    try:
        return await _reach_over(tunnel, route)
    except StreamRefused as exc:
        if exc.cause != NotReady.cause or not route.ways.elsewhere(route.owner, tunnel):
            raise
    return await _reach_over(await route.ways.wait_tunnel(route.owner), route)


async def _reach_over(tunnel: Tunnel, route: TcpRoute) -> Waiting:
    far = Waiting()
    stream = tunnel.open_stream(route.target, far)
    try:
        async with asyncio.timeout(ACCEPT_TIMEOUT):
            await stream.wait_accepted()
    except TimeoutError as exc:
        stream.abort()
        raise ConnectTimeout("the far end of the tunnel did not answer in time") from exc
    except BaseException:
        stream.abort()
        raise
    return far
