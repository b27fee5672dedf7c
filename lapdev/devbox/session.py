"""A device's session: what the cloud says it may reach, and what it stands in for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lapdev.devbox.hosts import resolve
from lapdev.devbox.outlet import join_local
from lapdev.errors import CallFailed, LapdevError, NoRoute, NotReady, RemoteProtocolError
from lapdev.model import DeviceId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import (
    Done,
    InterceptTarget,
    Message,
    SessionState,
    StartSession,
    Target,
)


@dataclass(frozen=True, slots=True)
class Device:
    """This machine, as its owner and the cloud know it."""

    id: DeviceId
    name: str


class Session:
    """The devbox's side of the tunnel. Keeps its last state while the link is down."""

    def __init__(
        self, device: Device, environment: str, tasks: Tasks, on_change: Callable[[], None]
    ) -> None:
        self.state: SessionState | None = None
        self.error: LapdevError | None = None
        """Why there is no session now, or none yet; None once there is."""
        self.tunnel: Tunnel | None = None
        self._device = device
        self._environment = environment
        self._tasks = tasks
        self._on_change = on_change
        self._settled = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self.tunnel is not None and self.tunnel.connected

    async def wait_started(self) -> SessionState:
        """The first state.

        Raises:
            LapdevError: the cloud refused the token, or the session: an unknown environment.
        """
        await self._settled.wait()
        if self.state is None:
            assert self.error is not None
            raise self.error
        return self.state

    def fail(self, error: LapdevError) -> None:
        """There is no session, for this reason."""
        self.error = error
        self._settled.set()
        # Before the first state, whoever waits for it reports the error.
        if self.state is not None:
            self._on_change()

    def unreachable(self, error: LapdevError) -> None:
        """The cloud cannot be reached now, for this reason; it is tried again."""
        self.error = error
        self._on_change()

    def open_service(self, host: str, port: int, protocol: asyncio.Protocol) -> Stream:
        """A stream to a service of the environment; what it carries may be written at once.

        Raises:
            NoRoute: no such service or port.
            NotReady: there is no session yet, or its link is down for good.
        """
        if self.state is None or self.tunnel is None:
            raise NotReady(
                "not connected to an environment", hint="see `lapdev devbox status`", hop="devbox"
            )
        return self.tunnel.open_stream(resolve(self.state, host, port), protocol)

    # TunnelHandler

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self._on_change()
        self._tasks.spawn(self._start(tunnel), "devbox session start")

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        self._on_change()

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        if self.tunnel is tunnel:
            self.tunnel = None
            self._on_change()

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        if not isinstance(message, SessionState):
            raise RemoteProtocolError(f"a devbox takes no {type(message).__name__}")
        self._apply(message)
        return Done()

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        try:
            port = self._local_port(target)
        except NoRoute as exc:
            stream.refuse(exc)
            return
        self._tasks.spawn(join_local(stream, port), f"intercept stream to port {port}")

    # Inside

    async def _start(self, tunnel: Tunnel) -> None:
        request = StartSession(self._device.id, self._device.name, self._environment)
        try:
            answer = await tunnel.call(request)
        except CallFailed as exc:
            self.fail(exc)
            return
        except LapdevError:
            return  # the link went down again: `tunnel_up` comes back here
        if isinstance(answer, SessionState):
            self._apply(answer)

    def _apply(self, state: SessionState) -> None:
        self.state, self.error = state, None
        self._settled.set()
        self._on_change()

    def _local_port(self, target: Target) -> int:
        """Only what this session was told it stands in for: a stream alone proves nothing."""
        if isinstance(target, InterceptTarget) and self.state is not None:
            for intercept in self.state.intercepts:
                if intercept.id == target.intercept:
                    for ports in intercept.ports:
                        if ports.service_port == target.port:
                            return ports.local_port
        raise NoRoute("this device has no such intercept", hop="devbox")
