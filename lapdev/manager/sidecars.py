"""The manager's side of the sidecars' tunnels: who may connect, and which routes each holds.

Every replica has its own feeding task, so that one that hangs delays no other. A snapshot travels
only when its rows differ from what the replica acknowledged; a replica is told again until it
answers or its tunnel is gone. Sidecars open no streams here and make no calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lapdev.errors import CallFailed, Forbidden, LapdevError, TunnelError
from lapdev.log import get_logger
from lapdev.manager.changes import Changes
from lapdev.manager.credentials import PodTokens
from lapdev.manager.plan import Place
from lapdev.model import Identity, RoleName, RouteSnapshot, SidecarIdentity
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import ApplyRoutes, Message, RoutesApplied, Target

RETRY_INTERVAL = 0.25
RETRY_MAX_INTERVAL = 5.0


@dataclass(slots=True, eq=False)
class Replica:
    """One sidecar process with a tunnel to us."""

    tunnel: Tunnel
    identity: SidecarIdentity
    stale: Changes[str]
    connected: bool = True
    holds: RoutesApplied | None = field(default=None)
    """What it acknowledged last; None: nothing in this session."""
    feeder: asyncio.Task[None] | None = None

    @property
    def place(self) -> Place:
        return Place(self.identity.environment, self.identity.workload)

    def holds_generation(self, current: RouteSnapshot | None) -> int:
        """Which generation its rows are: `current`'s own if they equal it, 0 for none."""
        if self.holds is None:
            return 0
        if current is not None and self.holds.digest == current.digest:
            return current.generation
        return self.holds.generation


class SidecarFeed:
    """Keeps every connected replica's routes current. A `tunnel.TunnelHandler`."""

    def __init__(self, tokens: PodTokens, tasks: Tasks) -> None:
        self.on_applied: Callable[[str], None] = lambda _namespace: None
        """`on_applied(namespace)` runs whenever what a replica of it holds has changed."""
        self._tokens = tokens
        self._tasks = tasks
        self._snapshots: dict[str, Mapping[Place, RouteSnapshot]] = {}
        self._pods: dict[str, SidecarIdentity] = {}
        self._replicas: dict[Tunnel, Replica] = {}
        self._at: dict[tuple[str, Place], set[Replica]] = {}
        """The same replicas by namespace and workload: a hundred workloads ask in every report."""
        self._changed = asyncio.Event()
        tokens.on_revoked = self._pod_gone

    # Who may connect

    def authenticate(self, token: str) -> Identity | None:
        """The tunnel identity of the pod that holds `token`, or None."""
        holder = self._tokens.holder(token)
        if holder is None:
            return None
        identity = Identity(RoleName.SIDECAR, f"{holder.namespace}/{holder.pod}")
        self._pods[identity.owner] = holder
        return identity

    def _pod_gone(self, pod: SidecarIdentity) -> None:
        self._pods.pop(f"{pod.namespace}/{pod.pod}", None)
        for tunnel, replica in list(self._replicas.items()):
            if replica.identity == pod:
                self._drop(tunnel)
                self._tasks.spawn(tunnel.aclose("the pod is gone"), "sidecar-close")

    # What they should hold

    def publish(self, namespace: str, snapshots: Mapping[Place, RouteSnapshot]) -> None:
        """Every replica in the namespace is being told its workload's snapshot, if it differs."""
        self._snapshots[namespace] = snapshots
        for replica in self._replicas.values():
            if replica.identity.namespace == namespace and not self._is_current(replica):
                replica.stale.mark("routes")

    def forget(self, namespace: str) -> None:
        """The namespace is gone, and its routes with it."""
        self._snapshots.pop(namespace, None)

    def routes_generation(self, namespace: str, place: Place) -> int:
        """The generation that every connected replica of the workload has acknowledged.

        A replica that holds equal rows from an older generation holds the current one. 0 while
        none is connected.
        """
        current = self._snapshots.get(namespace, {}).get(place)
        held = [
            replica.holds_generation(current)
            for replica in self._at.get((namespace, place), ())
            if replica.connected
        ]
        return min(held, default=0)

    async def wait_held(self, namespace: str) -> None:
        """Every connected replica of the namespace holds what was published last."""
        while any(
            replica.connected and not self._is_current(replica)
            for replica in self._replicas.values()
            if replica.identity.namespace == namespace
        ):
            self._changed.clear()
            await self._changed.wait()

    def _tell_changed(self, namespace: str) -> None:
        self._changed.set()
        self.on_applied(namespace)

    @property
    def connected(self) -> int:
        """Replicas with a live connection."""
        return sum(replica.connected for replica in self._replicas.values())

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.refuse(Forbidden("a sidecar opens no streams to the manager", hop="manager"))

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        raise Forbidden(f"a sidecar may not call {type(message).__name__}", hop="manager")

    def tunnel_up(self, tunnel: Tunnel) -> None:
        replica = self._replicas.get(tunnel)
        if replica is None:
            pod = self._pods.get(tunnel.identity.owner)
            if pod is None:  # its pod was stopped while the tunnel was being set up
                self._tasks.spawn(tunnel.aclose("the pod is gone"), "sidecar-close")
                return
            replica = self._replicas[tunnel] = Replica(tunnel, pod, Changes())
            self._at.setdefault((pod.namespace, replica.place), set()).add(replica)
            replica.feeder = self._tasks.spawn(self._feed(replica), f"feed-{pod.pod}")
        replica.connected = True
        # Whatever it acknowledged before, a reconnect is the moment to be sure.
        replica.holds = None
        replica.stale.mark("routes")

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        if (replica := self._replicas.get(tunnel)) is not None:
            replica.connected = False
            self._tell_changed(replica.identity.namespace)

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._drop(tunnel)

    def _drop(self, tunnel: Tunnel) -> None:
        replica = self._replicas.pop(tunnel, None)
        if replica is None:
            return
        key = (replica.identity.namespace, replica.place)
        self._at[key].discard(replica)
        if not self._at[key]:
            del self._at[key]
        if replica.feeder is not None:
            replica.feeder.cancel()
        self._tell_changed(replica.identity.namespace)

    # Feeding

    def _wanted(self, replica: Replica) -> RouteSnapshot | None:
        return self._snapshots.get(replica.identity.namespace, {}).get(replica.place)

    def _is_current(self, replica: Replica) -> bool:
        wanted = self._wanted(replica)
        return wanted is None or (
            replica.holds is not None and replica.holds.digest == wanted.digest
        )

    async def _feed(self, replica: Replica) -> None:
        """Runs as long as the replica's tunnel."""
        failures = 0
        while True:
            await replica.stale.take()
            wanted = self._wanted(replica)
            if wanted is None or self._is_current(replica):
                continue
            try:
                replica.holds = await _push(replica.tunnel, wanted)
            except CallFailed as exc:
                failures += 1
                _log(replica, "routes_refused", exc)
                await asyncio.sleep(_retry_delay(failures))
                replica.stale.mark("routes")
            except TunnelError as exc:
                # The tunnel's end is told by tunnel_closed, a new connection by tunnel_up.
                _log(replica, "routes_not_delivered", exc)
            else:
                failures = 0
                self._tell_changed(replica.identity.namespace)


async def _push(tunnel: Tunnel, snapshot: RouteSnapshot) -> RoutesApplied:
    answer = await tunnel.call(ApplyRoutes(snapshot))
    if not isinstance(answer, RoutesApplied):
        raise CallFailed(f"a sidecar answered ApplyRoutes with {type(answer).__name__}")
    return answer


def _retry_delay(failures: int) -> float:
    ceiling = min(RETRY_MAX_INTERVAL, RETRY_INTERVAL * 2 ** min(failures - 1, 10))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads retries, guards nothing


def _log(replica: Replica, event: str, error: LapdevError) -> None:
    get_logger().warning(
        event,
        environment=replica.identity.environment,
        workload=replica.identity.workload,
        identity=replica.tunnel.identity.owner,
        error=error.detail,
    )
