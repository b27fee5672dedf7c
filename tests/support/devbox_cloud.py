"""The cloud as a devbox sees it: a real listener and real tunnels, and a session made of facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from lapdev.errors import ConnectFailed, Forbidden, LapdevError
from lapdev.model import (
    DeviceId,
    EnvironmentId,
    Identity,
    Intercept,
    InterceptId,
    PortMap,
    RoleName,
    Service,
    ServicePort,
)
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import dial, listen
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel, TunnelServer, outlet
from lapdev.wire.control import (
    InterceptTarget,
    Message,
    ServiceTarget,
    SessionState,
    StartSession,
    Target,
)

TOKEN = "a-devbox-token"


def service(name: str, *ports: int) -> Service:
    return Service(name, {"app": name}, tuple(ServicePort(port, port) for port in ports))


def intercept(local_port: int, service_port: int = 8080) -> Intercept:
    """The device stands in for `api`."""
    return Intercept(
        InterceptId("take-api"),
        EnvironmentId("env"),
        "api",
        "api",
        DeviceId("dev"),
        (PortMap(service_port, local_port),),
    )


STATE = SessionState(
    EnvironmentId("env"), "shop", "ns-shop", (service("api", 8080), service("db", 5432)), ()
)


@dataclass(slots=True)
class DevboxCloud:
    """TunnelHandler. Streams to services go to `backends`, by target port."""

    backends: dict[int, str] = field(default_factory=dict)
    state: SessionState = STATE
    refuse_with: LapdevError | None = None
    address: str = ""
    started: asyncio.Queue[StartSession] = field(default_factory=asyncio.Queue)
    tunnel: Tunnel | None = None
    targets: list[Target] = field(default_factory=list)
    tasks: Tasks = field(default_factory=Tasks)
    server: TunnelServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = TunnelServer(self)

    def handle(self, exchange: Exchange) -> None:
        if (b"authorization", f"Bearer {TOKEN}".encode()) not in [
            (name.lower(), value) for name, value in exchange.request.headers
        ]:
            exchange.respond(401, [], b"")
            return
        self.server.accept(exchange, Identity(RoleName.DEVBOX, "api-token"))

    async def push(self, **changes: object) -> None:
        """The device is told of a change to its session."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        assert self.tunnel is not None
        await self.tunnel.call(self.state)

    def open_intercept(self, protocol: asyncio.Protocol, port: int = 8080) -> Stream:
        assert self.tunnel is not None
        return self.tunnel.open_stream(InterceptTarget(InterceptId("take-api"), port), protocol)

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        self.targets.append(target)
        assert isinstance(target, ServiceTarget)
        where = self.backends.get(target.port)
        if where is None:
            stream.refuse(ConnectFailed("nothing listens there"))
            return
        self.tasks.spawn(outlet(stream, lambda factory: dial(where, factory)), "backend")

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        if not isinstance(message, StartSession):
            raise Forbidden("only StartSession")
        self.tunnel = tunnel
        if self.refuse_with is not None:
            raise self.refuse_with
        self.started.put_nowait(message)
        return self.state

    def tunnel_up(self, tunnel: Tunnel) -> None: ...
    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None: ...
    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None: ...


@asynccontextmanager
async def devbox_cloud(**backends: str) -> AsyncIterator[DevboxCloud]:
    """Listening on loopback; `backends` by name of the port: `p8080="127.0.0.1:1234"`."""
    cloud = DevboxCloud({int(name[1:]): where for name, where in backends.items()})
    http = HttpServer(cloud.handle)
    listener = await listen("127.0.0.1:0", http.connection)
    cloud.address = f"http://{listener.address}"
    try:
        yield cloud
    finally:
        await listener.aclose()
        await cloud.server.aclose()
        await http.aclose()
        await cloud.tasks.aclose()
