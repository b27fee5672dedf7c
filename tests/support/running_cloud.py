"""A whole cloud in the test process, and small ends that dial it: manager, sidecar, laptop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from lapdev.cloud.app import run
from lapdev.errors import ConnectFailed, NoRoute
from lapdev.model import DeviceId
from lapdev.net.listener import dial
from lapdev.net.relay import Waiting, relay_waiting
from lapdev.net.tasks import Tasks
from lapdev.net.way_out import WayOut
from lapdev.settings import CloudSettings
from lapdev.tunnel import (
    Stream,
    Tunnel,
    TunnelHandler,
    TunnelOptions,
    Uplink,
    UplinkOptions,
    new_id,
)
from lapdev.wire.control import (
    ApplyEnvironment,
    DeleteEnvironment,
    Done,
    Message,
    SessionState,
    StartSession,
    SyncEnvironments,
    SyncNeeds,
    Target,
)
from tests.support.certificates import Certificate
from tests.support.raw import RecordingApp

DOMAIN = "lapdev.localhost"

QUICK = TunnelOptions(grace=5.0, retry_first=0.005, retry_most=0.02, refused_delay=0.05)


@dataclass
class RunningCloud:
    """Where it listens and what opens it."""

    address: str
    token: str
    cluster_token: str
    api: httpx.AsyncClient

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an API call that must succeed."""
        answer = await self.api.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def label_of(self, environment: str) -> str:
        """The host of an environment's first preview URL."""
        previews = await self.ok("GET", f"/environments/{environment}/previews")
        items = previews["previews"]
        return str(httpx.URL(items[0]["url"]).host)


@asynccontextmanager
async def running_cloud(
    tmp_path: Path,
    tcp_previews: str = "",
    log_level: str = "error",
    certificate: Certificate | None = None,
) -> AsyncIterator[RunningCloud]:
    """A cloud with its composition root, on a port of its own; stopped by SIGTERM, as ever.

    What serves previews only listens at `e.sock`.
    """
    reading, writing = os.pipe()
    settings = CloudSettings(
        listen="127.0.0.1:0",
        data_dir=str(tmp_path / "data"),
        cluster_token_file=str(tmp_path / "cluster-token"),
        bootstrap_token_file=str(tmp_path / "bootstrap-token"),
        internal_listen=f"unix:{tmp_path}/c.sock",
        edge_listen=f"unix:{tmp_path}/e.sock",
        tls_cert=str(certificate.cert) if certificate else "",
        tls_key=str(certificate.key) if certificate else "",
        tcp_previews=tcp_previews,
        admin="",
        ready_fd=writing,
        log_level=log_level,
    )
    loop = asyncio.get_running_loop()
    serving = loop.create_task(run(settings), name="cloud under test")
    ready = loop.run_in_executor(None, os.read, reading, 16)
    done, _ = await asyncio.wait({serving, ready}, timeout=20, return_when="FIRST_COMPLETED")
    os.close(reading)
    assert ready in done, "the cloud did not start"
    token = (tmp_path / "bootstrap-token").read_text().strip()
    transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/c.sock")
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1",
        headers={"authorization": f"Bearer {token}"},
    ) as api:
        cluster_token = (tmp_path / "cluster-token").read_text().strip()
        try:
            yield RunningCloud(f"unix:{tmp_path}/c.sock", token, cluster_token, api)
        finally:
            await api.aclose()  # a connection that was just in use would be waited for
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(20):
                await serving


@dataclass
class StandInManager(TunnelHandler):
    """A manager whose services are recording apps."""

    apps: dict[str, RecordingApp] = field(default_factory=dict)
    held: dict[str, ApplyEnvironment] = field(default_factory=dict)
    applied: list[ApplyEnvironment] = field(default_factory=list)
    """Every one, in the order they came."""
    deleted: list[str] = field(default_factory=list)
    heard: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    tasks: Tasks = field(default_factory=Tasks)
    served: asyncio.Event = field(default_factory=asyncio.Event)
    """A stream has been joined to its app."""

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        self.tasks.spawn(self._serve(stream, target), "serve stream")

    async def _serve(self, stream: Stream, target: Target) -> None:
        app = self.apps.get(getattr(target, "service", ""))
        if app is None:
            stream.refuse(NoRoute("no such service", hop="manager"))
            return
        try:
            _, far = await dial(app.address, Waiting)
        except ConnectFailed as exc:
            stream.refuse(exc)
            return
        if stream.is_closing():
            far.transport.abort()
            return
        near = Waiting()
        stream.accept(near)
        relay_waiting(near, far)
        self.served.set()

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        answer: Message = Done()
        match message:
            case SyncEnvironments():
                answer = SyncNeeds(tuple(ref.id for ref in message.environments))
            case ApplyEnvironment():
                self.held[message.environment.name] = message
                self.applied.append(message)
            case DeleteEnvironment():
                self.deleted.append(message.id)
            case _:
                raise NoRoute("unexpected call")
        self.heard.put_nowait(message)
        return answer

    def tunnel_up(self, tunnel: Tunnel) -> None:
        """Nothing to do: the cloud begins."""

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        """Streams wait."""

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        """The test is over."""


@dataclass
class StandInLaptop(StandInManager):
    """A devbox: it hears session states, and serves intercepts from recording apps by service."""

    app: RecordingApp | None = None
    states: list[SessionState] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """A state has come."""
    tunnel: Tunnel | None = None

    async def _serve(self, stream: Stream, target: Target) -> None:
        self.apps = {"": self.app} if self.app else {}
        await super()._serve(stream, target)

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        assert isinstance(message, SessionState)
        self.states.append(message)
        self.told.set()
        return Done()

    async def start(self, environment: str, device: str = "laptop-1") -> SessionState:
        """The session is started in `environment`."""
        assert self.tunnel is not None
        answer = await self.tunnel.call(StartSession(DeviceId(device), "test", environment))
        assert isinstance(answer, SessionState)
        return answer


@asynccontextmanager
async def connected(
    cloud: RunningCloud, role: str, token: str, handler: StandInManager, ca_file: str = ""
) -> AsyncIterator[Tunnel]:
    """`handler` holds a tunnel of `role` to the cloud, which knows it."""
    options = UplinkOptions(
        cloud.address,
        f"/_lapdev/tunnel/{role}",
        token,
        role,
        new_id(),
        way=WayOut(ca_file),
        tunnel=replace(QUICK),
    )
    uplink = Uplink(options, handler)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(handler.tasks.aclose)
        tasks = await stack.enter_async_context(Tasks())
        tasks.spawn(uplink.run(), f"{role} uplink")
        async with asyncio.timeout(10):
            tunnel = await uplink.wait_up()
        yield tunnel
        await tunnel.aclose("the test is over")
