"""The managers' tunnels: what each cluster should run is sent, what it runs is heard.

The store knows what should be; a manager that connects is told all of it and asks for what it does
not have. What a cluster reports is live state: kept in memory, and gone with the connection.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lapdev.cloud.actions import EnvironmentLive
from lapdev.errors import Forbidden, LapdevError, NotFound, NotReady, StoreError, TunnelError
from lapdev.log import get_logger
from lapdev.model import (
    Cluster,
    ClusterId,
    ClusterStatus,
    Environment,
    EnvironmentId,
    EnvironmentStatus,
    Intercept,
)
from lapdev.net.tasks import Tasks
from lapdev.store import Store
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import (
    ApplyEnvironment,
    DeleteEnvironment,
    Done,
    EnvironmentRef,
    InterceptGrant,
    Message,
    ReportCluster,
    ReportEnvironment,
    SyncEnvironments,
    SyncNeeds,
    Target,
)

HOLD_TIMEOUT = 2.0
"""How long a request waits for a tunnel that is away (tunnel.md)."""

MAX_PARALLEL_PUSHES = 16


@dataclass(slots=True)
class _Cluster:
    """The live side of one cluster."""

    tunnels: list[Tunnel] = field(default_factory=list)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    seen: bool = False
    detail: str = ""
    turn: int = 0

    def connected(self) -> list[Tunnel]:
        return [tunnel for tunnel in self.tunnels if tunnel.connected]


class ClusterLinks:
    """TunnelHandler of all managers, and the way to a cluster for everyone else in the cloud."""

    def __init__(
        self, store: Store, tasks: Tasks, grant: Callable[[Intercept], InterceptGrant]
    ) -> None:
        """`grant` adds to an intercept what its sidecars need to open its tunnel."""
        self._store = store
        self._tasks = tasks
        self._grant = grant
        self._clusters: defaultdict[ClusterId, _Cluster] = defaultdict(_Cluster)
        self._live: dict[EnvironmentId, ReportEnvironment] = {}
        """What was reported last, by whomever."""
        self._told: defaultdict[EnvironmentId, dict[Tunnel, ReportEnvironment | None]] = (
            defaultdict(dict)
        )
        """What each of a cluster's managers says of its pods; None: it has refused since."""
        self._dirty: set[EnvironmentId] = set()
        self._intercepted: set[EnvironmentId] = set()
        self._pushing = False
        self._slots = asyncio.Semaphore(MAX_PARALLEL_PUSHES)

    @property
    def intercepted(self) -> bool:
        """Somebody may be debugging what serves a request: an intercept of a shared environment
        serves the requests of its branches too."""
        return bool(self._intercepted)

    # TunnelHandler

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.refuse(Forbidden("a manager opens no streams"))

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        cluster = ClusterId(tunnel.identity.owner)
        match message:
            case ReportCluster():
                self._clusters[cluster].detail = message.detail
            case ReportEnvironment():
                environment = await self._store.environment(message.id)
                if environment.cluster != cluster:
                    raise NotFound(f"environment {message.id} is not in this cluster")
                self._live[message.id] = self._told[message.id][tunnel] = message
            case _:
                raise Forbidden(f"a manager does not send {type(message).__name__}")
        return Done()

    def tunnel_up(self, tunnel: Tunnel) -> None:
        cluster = self._clusters[ClusterId(tunnel.identity.owner)]
        if tunnel not in cluster.tunnels:
            cluster.tunnels.append(tunnel)
        cluster.seen = True
        cluster.up.set()
        self._tasks.spawn(self._sync(tunnel), f"sync cluster {tunnel.identity.owner}")

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        self._settle(tunnel)

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        cluster = self._clusters[ClusterId(tunnel.identity.owner)]
        if tunnel in cluster.tunnels:
            cluster.tunnels.remove(tunnel)
        for told in self._told.values():
            told.pop(tunnel, None)
        self._settle(tunnel)

    def _settle(self, tunnel: Tunnel) -> None:
        cluster = self._clusters[ClusterId(tunnel.identity.owner)]
        if not cluster.connected():
            cluster.up.clear()

    # The way to a cluster

    def tunnel_nowait(self, to: ClusterId | Environment) -> Tunnel | None:
        """A connected tunnel of the cluster, its instances taking turns, or None.

        One whose process is about to stop, or has no ready pods of the environment, only while
        there is no other.
        """
        live = self._clusters[to.cluster if isinstance(to, Environment) else to]
        ready = live.connected()
        if not ready:
            return None
        if len(ready) > 1:
            ready = [tunnel for tunnel in ready if not tunnel.draining] or ready
        if len(ready) > 1 and isinstance(to, Environment):
            ranks = {tunnel: self._rank(to, tunnel) for tunnel in ready}
            ready = [tunnel for tunnel in ready if ranks[tunnel] == max(ranks.values())]
        live.turn += 1
        return ready[live.turn % len(ready)]

    def elsewhere(self, to: ClusterId | Environment, tunnel: Tunnel) -> bool:
        """The tunnel's manager has no ready pods after all: is there another manager to ask?

        The others are preferred until this one reports again.
        """
        if not isinstance(to, Environment):
            return False
        self._told[to.id][tunnel] = None
        others = [each for each in self._clusters[to.cluster].connected() if each is not tunnel]
        return any(self._rank(to, each) for each in others)

    def _rank(self, environment: Environment, tunnel: Tunnel) -> int:
        """2: has ready pods; 1: has not said; 0: has none."""
        told = self._told[environment.id]
        if tunnel not in told:
            return 1
        return 2 if _is_ready(told[tunnel]) else 0

    async def wait_tunnel(self, to: ClusterId | Environment) -> Tunnel:
        """A connected tunnel, after at most `HOLD_TIMEOUT`.

        Raises:
            NotReady: none came.
        """
        try:
            async with asyncio.timeout(HOLD_TIMEOUT):
                cluster = to.cluster if isinstance(to, Environment) else to
                while (tunnel := self.tunnel_nowait(to)) is None:
                    await self._clusters[cluster].up.wait()
        except TimeoutError as exc:
            raise NotReady(
                "the cluster of this environment is not connected",
                hint="try again in a few seconds; if it stays away, look at the manager's log",
                hop="cloud",
            ) from exc
        return tunnel

    # What is live

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        live = self._clusters.get(cluster.id)
        if live is None or not live.seen:
            return cluster.status  # as stored: it may have been connected before this process
        return ClusterStatus.READY if live.connected() else ClusterStatus.NOT_READY

    def cluster_detail(self, cluster: Cluster) -> str:
        """What its machine cannot do for pods, as last reported."""
        live = self._clusters.get(cluster.id)
        return "" if live is None else live.detail

    def environment_live(self, environment: Environment) -> EnvironmentLive:
        """What runs of it, as last reported; honest about a cluster that is away."""
        report = self._live.get(environment.id)
        for told in self._told[environment.id].values():
            if told is None or not _is_ready(told):
                continue
            if report is None or told.generation >= report.generation:
                report = told
        if self.tunnel_nowait(environment.cluster) is None:
            detail = "the cluster is not connected"
            workloads = report.workloads if report else ()
            return EnvironmentLive(EnvironmentStatus.PENDING, detail, workloads)
        if report is None or report.generation < environment.generation:
            return EnvironmentLive(
                EnvironmentStatus.STARTING,
                "the cluster is taking it up",
                report.workloads if report else (),
            )
        return EnvironmentLive(report.status, report.detail, report.workloads)

    # What should be

    def changed(self, environment: EnvironmentId) -> None:
        """The environment is sent to its manager, together with what else changed meanwhile.

        Also its base: a change of a branch gives that a new generation, too.
        """
        self._dirty.add(environment)
        if not self._pushing:
            self._pushing = True
            self._tasks.spawn(self._push_dirty(), "push environments")

    async def delete(self, environment: Environment) -> None:
        """Nothing of it runs any more, or its cluster is away and will be told when it is back.

        Takes as long as its slowest pod's grace.
        """
        self._live.pop(environment.id, None)
        self._told.pop(environment.id, None)
        tunnel = self.tunnel_nowait(environment.cluster)
        if tunnel is None:
            return
        try:
            await tunnel.call(DeleteEnvironment(environment.id))
        except TunnelError as exc:
            get_logger().warning(
                "environment_delete_deferred", environment=environment.id, error=exc.detail
            )

    async def _push_dirty(self) -> None:
        try:
            while self._dirty:
                batch, self._dirty = self._dirty, set()
                try:
                    await self._push(batch)
                except LapdevError:
                    self._dirty |= batch  # the next change sends these, too
                    raise
        finally:
            self._pushing = False

    async def _push(self, batch: Iterable[EnvironmentId]) -> None:
        """Each of them, and each base, once."""
        found: dict[EnvironmentId, ClusterId] = {}
        for changed in batch:
            try:
                environment = await self._store.environment(changed)
            except NotFound:
                continue
            for one in (environment.id, environment.base):
                if one is not None:
                    found[one] = environment.cluster
        for one, cluster in found.items():
            for tunnel in self._clusters[cluster].connected():
                self._tasks.spawn(self._apply(tunnel, one), f"apply {one}")

    async def _sync(self, tunnel: Tunnel) -> None:
        cluster = ClusterId(tunnel.identity.owner)
        try:
            await self._store.note_cluster_connected(cluster)
        except StoreError as exc:
            # For the next time: that it is here counts, and what it serves goes on.
            get_logger().warning("cluster_not_noted", cluster=cluster, error=exc.detail)
        environments = await self._store.environments(cluster=cluster)
        refs = tuple(
            EnvironmentRef(e.id, e.generation)
            for e in environments
            if e.status is not EnvironmentStatus.DELETING
        )
        try:
            needs = await tunnel.call(SyncEnvironments(refs))
        except TunnelError as exc:
            get_logger().warning("cluster_sync_failed", cluster=cluster, error=exc.detail)
            return
        if isinstance(needs, SyncNeeds):
            for environment in needs.environments:
                await self._apply(tunnel, environment)

    async def _apply(self, tunnel: Tunnel, environment_id: EnvironmentId) -> None:
        try:
            async with self._slots:
                environment = await self._store.environment(environment_id)
                intercepts = await self._store.intercepts(environment=environment_id)
                grants = tuple(self._grant(intercept) for intercept in intercepts)
                if intercepts:
                    self._intercepted.add(environment_id)
                else:
                    self._intercepted.discard(environment_id)
                await tunnel.call(ApplyEnvironment(environment, grants))
        except NotFound:
            self._intercepted.discard(environment_id)
            return  # deleted meanwhile; its deletion is sent on its own
        except LapdevError as exc:
            get_logger().warning(
                "environment_apply_failed", environment=environment_id, error=exc.detail
            )


def _is_ready(report: ReportEnvironment | None) -> bool:
    return report is not None and report.status is EnvironmentStatus.READY
