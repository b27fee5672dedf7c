"""The devboxes' tunnels: which laptop works in which environment, and what it may reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.exposures import Exposures
from lapdev.cloud.pairing import pair
from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError, Forbidden, LapdevError, NoRoute, NotFound
from lapdev.log import get_logger
from lapdev.model import DeviceId, Environment, EnvironmentId, Service
from lapdev.net.tasks import Tasks
from lapdev.store import Store
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import (
    EndExposure,
    InterceptTarget,
    Message,
    ServiceTarget,
    SessionState,
    StartExposure,
    StartSession,
    Target,
)


@dataclass(slots=True)
class Session:
    """One devbox at work in one environment."""

    device: DeviceId
    device_name: str
    tunnel: Tunnel
    environment: Environment
    services: tuple[Service, ...]

    def allows(self, target: ServiceTarget) -> bool:
        """A Service of the session's environment, by name and port; nothing else in the cluster."""
        return target.namespace == self.environment.namespace and any(
            service.name == target.service and port.port == target.port
            for service in self.services
            for port in service.ports
        )


class DeviceLinks:
    """TunnelHandler of all devboxes."""

    def __init__(
        self, store: Store, tasks: Tasks, clusters: ClusterLinks, exposures: Exposures
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._clusters = clusters
        self._exposures = exposures
        self._sessions: dict[str, Session] = {}
        """By tunnel session; several may belong to one device, the newest connected one serves."""

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        session = self._sessions.get(tunnel.session)
        if session is None:
            stream.refuse(Forbidden("start a session before opening streams"))
        elif not isinstance(target, ServiceTarget) or not session.allows(target):
            stream.refuse(
                NoRoute(
                    "this is not a service port of the active environment",
                    hint=f"environment {session.environment.name} has: "
                    + ", ".join(sorted(service.name for service in session.services)),
                    hop="cloud",
                )
            )
        else:
            self._tasks.spawn(self._reach(session, stream, target), "devbox stream")

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        match message:
            case StartSession():
                return await self._start(tunnel, message)
            case StartExposure():
                return await self._exposures.start(tunnel, message)
            case EndExposure():
                return await self._exposures.end(tunnel, message)
            case _:
                raise Forbidden(f"a devbox does not send {type(message).__name__}")

    async def _start(self, tunnel: Tunnel, message: StartSession) -> SessionState:
        environment = await self._choose(message.environment)
        session = Session(message.device, message.device_name, tunnel, environment, ())
        self._sessions.pop(tunnel.session, None)
        self._sessions[tunnel.session] = session
        get_logger().info("devbox_session_started", environment=environment.name)
        return await self._state(session)

    def tunnel_up(self, tunnel: Tunnel) -> None:
        """A session begins with its StartSession call, an exposure with its StartExposure."""
        self._exposures.tunnel_changed(tunnel)

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        """Streams wait out the grace; new ones fall back because `tunnel_of` skips it."""
        self._exposures.tunnel_changed(tunnel)

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._sessions.pop(tunnel.session, None)
        self._exposures.tunnel_changed(tunnel)

    # For the rest of the cloud

    def tunnel_of(self, device: DeviceId) -> Tunnel | None:
        """The newest connected tunnel of the device; one that is about to end only as a last."""
        found = None
        for session in reversed(self._sessions.values()):
            if session.device == device and session.tunnel.connected:
                if not session.tunnel.draining:
                    return session.tunnel
                found = found or session.tunnel
        return found

    def environment_changed(self, environment: EnvironmentId) -> None:
        """Sessions in it, and in its branches, are told when it offers other services now."""
        for session in self._sessions.values():
            if environment in (session.environment.id, session.environment.base):
                self._tasks.spawn(self._tell_services(session), "tell devbox of services")

    def intercepts_changed(self, device: DeviceId) -> None:
        """Each session of the device is told what it stands in for now."""
        for session in self._sessions.values():
            if session.device == device and session.tunnel.connected:
                self._tasks.spawn(self._tell(session), "tell devbox")

    def tell_all(self) -> None:
        """Each session is told how everything stands."""
        for session in self._sessions.values():
            if session.tunnel.connected:
                self._tasks.spawn(self._tell(session), "tell devbox")

    async def _tell_services(self, session: Session) -> None:
        before = session.services
        try:
            state = await self._state(session)
            if state.services != before and session.tunnel.connected:
                await session.tunnel.call(state)
        except NotFound:
            return  # deleted meanwhile
        except LapdevError as exc:
            get_logger().warning("devbox_not_told", error=exc.detail)

    async def _tell(self, session: Session) -> None:
        try:
            await session.tunnel.call(await self._state(session))
        except LapdevError as exc:
            get_logger().warning("devbox_not_told", error=exc.detail)

    async def _state(self, session: Session) -> SessionState:
        environment = await self._store.environment(session.environment.id)
        owner = environment
        if environment.base is not None:  # a branch sees its base's services
            owner = await self._store.environment(environment.base)
        session.environment = environment
        session.services = tuple(parse_objects(owner.manifests).services)
        return SessionState(
            environment.id,
            environment.name,
            environment.namespace,
            session.services,
            tuple(await self._store.intercepts(device=session.device)),
        )

    async def _choose(self, reference: str) -> Environment:
        if reference:
            return await self._store.environment(reference)
        environments = await self._store.environments()
        if len(environments) == 1:
            return environments[0]
        if not environments:
            raise ConfigError(
                "there is no environment yet", hint="make one with `lapdev env create`"
            )
        names = ", ".join(sorted(environment.name for environment in environments))
        raise ConfigError(
            "there are several environments", hint=f"name one with --environment: {names}"
        )

    async def _reach(self, session: Session, stream: Stream, target: ServiceTarget) -> None:
        await _refusing(stream, self._pair_with_cluster(session, stream, target))

    async def _pair_with_cluster(
        self, session: Session, stream: Stream, target: ServiceTarget
    ) -> None:
        tunnel = await self._clusters.wait_tunnel(session.environment)
        await pair(stream, tunnel, target)


class SidecarLinks:
    """TunnelHandler of the sidecars whose intercept sends them here. One token, one intercept."""

    def __init__(
        self, tasks: Tasks, devices: DeviceLinks, device_of: Callable[[str], Awaitable[DeviceId]]
    ) -> None:
        """`device_of` names the device of a live intercept, or raises NotFound."""
        self._tasks = tasks
        self._devices = devices
        self._device_of = device_of
        self._tunnels: set[Tunnel] = set()

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        if not isinstance(target, InterceptTarget) or target.intercept != tunnel.identity.owner:
            stream.refuse(Forbidden("this token opens streams of its own intercept only"))
            return
        self._tasks.spawn(_refusing(stream, self._reach(stream, target)), "intercept stream")

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        raise Forbidden("a sidecar makes no calls to the cloud")

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self._tunnels.add(tunnel)

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        """The sidecar comes back by itself."""

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._tunnels.discard(tunnel)

    def intercept_removed(self, intercept: str) -> None:
        """Its tunnels are closed: what the token opened ends with the intercept."""
        for tunnel in [t for t in self._tunnels if t.identity.owner == intercept]:
            self._tasks.spawn(tunnel.aclose("the intercept was removed"), "close intercept tunnel")

    async def _reach(self, stream: Stream, target: InterceptTarget) -> None:
        device = await self._device_of(target.intercept)
        tunnel = self._devices.tunnel_of(device)
        if tunnel is None:
            raise NoRoute("the developer's machine is not connected", hop="cloud")
        await pair(stream, tunnel, target)


async def _refusing(stream: Stream, work: Awaitable[None]) -> None:
    """Whatever goes wrong before the stream is paired becomes its refusal."""
    try:
        await work
    except LapdevError as exc:
        if not stream.is_closing():
            stream.refuse(exc)
    except Exception:
        if not stream.is_closing():
            stream.refuse(LapdevError())
        raise
