"""What the REST API can do, without HTTP: the store changes, then the cluster link is told.

The link is the hub's side of the bargain: it pushes what is stored to managers and devboxes, and
knows what runs. A push that fails is not an error here, the link repeats it until it took effect.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lapdev.cloud import catalog
from lapdev.cloud.catalog import Manifest, WorkloadEdit
from lapdev.cloud.changes import Changes, compare
from lapdev.cloud.sendable import check_sendable
from lapdev.cloud.tokens import InterceptTokens, sha256_hex
from lapdev.cloud.wishes import offered_ports, preview_wishes
from lapdev.cluster.manifests import Manifests, WorkloadKind, check_references, parse_objects
from lapdev.errors import ConfigError, NotFound, NotReady
from lapdev.model import (
    Cluster,
    ClusterId,
    ClusterStatus,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    Intercept,
    InterceptId,
    PortMap,
    PreviewUrl,
    Service,
    WorkloadStatus,
)
from lapdev.net.tasks import Tasks
from lapdev.store import NewEnvironment, PreviewWish, Store
from lapdev.store.names import new_id
from lapdev.wire.control import LogsTarget

DELETE_PATIENCE = 60.0
"""Seconds that a caller is kept waiting for pods to end; a pod's grace may be longer."""


@dataclass(frozen=True, slots=True)
class EnvironmentLive:
    """What runs of an environment, as its manager last reported it."""

    status: EnvironmentStatus = EnvironmentStatus.PENDING
    detail: str = ""
    workloads: tuple[WorkloadStatus, ...] = ()
    services: tuple[Service, ...] = ()


class ClusterLink(Protocol):
    """What the API needs from the hub. The plain methods return at once and never raise."""

    def changed(self, environment: EnvironmentId) -> None:
        """What is stored of the environment changed: managers and indexes get to know it.

        Also after it was removed.
        """

    def previews_changed(self) -> None:
        """What is stored of previews changed: indexes and listeners get to know it."""

    async def delete(self, environment: Environment) -> None:
        """Nothing of the environment runs any more, or its absent cluster will see to it.

        Raises TunnelError when it has to be asked again.
        """

    def status(self, environment: Environment) -> EnvironmentLive:
        """What runs of the environment."""

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        """How the cluster is connected; its stored status if it never was in this process."""

    def cluster_detail(self, cluster: Cluster) -> str:
        """What its machine cannot do for pods, as its manager last said."""

    async def previews_settled(self) -> None:
        """Listeners are as `previews_changed` and `changed` have announced."""

    def preview_problem(self, preview: PreviewUrl) -> str:
        """Why the preview is not served; empty when it is."""

    def device_connected(self, device: DeviceId) -> bool:
        """A devbox of this device is connected."""

    def intercepts_changed(self, device: DeviceId) -> None:
        """The device is told which intercepts it has."""

    def intercept_removed(self, intercept: InterceptId) -> None:
        """What the intercept's token has opened is closed."""


@dataclass(frozen=True, slots=True)
class EnvironmentSummary:
    """One environment in a list, its status of this moment, and the names it refers to."""

    environment: Environment
    cluster: str
    base: str | None


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """One environment with everything that belongs to it."""

    summary: EnvironmentSummary
    live: EnvironmentLive
    branches: tuple[Environment, ...]
    previews: tuple[PreviewUrl, ...]
    intercepts: tuple[Intercept, ...]


@dataclass(frozen=True, slots=True)
class PutView:
    """An environment after its objects were put, and what that changed."""

    view: EnvironmentView
    created: bool
    changes: Changes
    ignored: tuple[str, ...]
    """Objects that were accepted and do nothing here: `NetworkPolicy/deny`."""


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """Which lines somebody wants to read."""

    workload: str = ""
    """May be empty where there is only one."""
    container: str = ""
    """Empty: all."""
    lines: int = 100
    follow: bool = False


@dataclass(frozen=True, slots=True)
class LogSource:
    """Whose lines are wanted, and where they are."""

    environment: Environment
    """Its pods': a branch shows its base's workloads, where it did not change them."""
    target: LogsTarget


@dataclass(frozen=True, slots=True)
class InterceptWish:
    """What a developer asks for."""

    service: str
    device: DeviceId
    ports: tuple[PortMap, ...] = ()
    """Empty: all ports of the service."""
    include_branches: bool = False


@dataclass(slots=True)
class ApiService:
    """The actions behind the API."""

    store: Store
    link: ClusterLink
    tokens: InterceptTokens
    preview_url: Callable[[PreviewUrl], str]
    """The whole URL that leads to it."""
    tasks: Tasks = field(default_factory=Tasks)
    """Owns deletions, which outlive the call that asked for them. Closed by `aclose`."""
    delete_patience: float = DELETE_PATIENCE
    _deletions: dict[EnvironmentId, asyncio.Task[None]] = field(default_factory=dict)
    _parse: catalog.Parsed = field(default_factory=catalog.Parsed)

    async def aclose(self) -> None:
        """No deletion runs any more; unfinished ones go on at the next start. Idempotent."""
        await self.tasks.aclose()

    # Clusters

    async def clusters(self) -> list[Cluster]:
        """All clusters with their status of this moment."""
        return [self._with_status(cluster) for cluster in await self.store.clusters()]

    def _with_status(self, cluster: Cluster) -> Cluster:
        return dataclasses.replace(
            cluster,
            status=self.link.cluster_status(cluster),
            detail=self.link.cluster_detail(cluster),
        )

    # Environments

    async def environments(self) -> list[EnvironmentSummary]:
        """All environments."""
        environments = await self.store.environments()
        names: dict[str, str] = {cluster.id: cluster.name for cluster in await self.clusters()}
        names |= {environment.id: environment.name for environment in environments}
        return [
            EnvironmentSummary(self._live(e), names[e.cluster], names.get(e.base or ""))
            for e in environments
        ]

    async def view(self, ref: str) -> EnvironmentView:
        """Everything about one environment."""
        environment = await self.store.environment(ref)
        base = None if environment.base is None else await self.store.environment(environment.base)
        cluster = await self.store.cluster(environment.cluster)
        previews = await self.previews(environment.id)
        live = self.link.status(environment)
        if not live.services:
            services = catalog.effective(environment, base, self._parse).services
            live = dataclasses.replace(live, services=services)
        return EnvironmentView(
            summary=EnvironmentSummary(
                self._live(environment), cluster.name, None if base is None else base.name
            ),
            live=live,
            branches=tuple(await self.store.branches(environment.id)),
            previews=tuple(previews),
            intercepts=tuple(await self.store.intercepts(environment.id)),
        )

    async def create_environment(
        self, name: str, kind: EnvironmentKind, cluster: str, objects: Sequence[Manifest]
    ) -> EnvironmentView:
        """A personal or shared environment is stored and on its way to the cluster.

        `cluster` is a name or id; empty takes the only cluster there is.
        """
        chosen = await self._choose_cluster(cluster)
        new, _ = _new_environment(name, kind, chosen.id, objects)
        return await self._pushed(await self.store.create_environment(new))

    async def put_environment(
        self, name: str, kind: EnvironmentKind | None, cluster: str, objects: Sequence[Manifest]
    ) -> PutView:
        """A personal or shared environment runs exactly these objects, and is on its way there.

        Without a `kind`, or a `cluster`, one that is there keeps its own. Nothing is pushed when
        nothing changed.
        """
        present = await self._environment_named(name)
        if cluster or present is None:
            chosen = (await self._choose_cluster(cluster)).id
        else:
            chosen = present.cluster
        new, ignored = _new_environment(name, kind or EnvironmentKind.SHARED, chosen, objects)
        put = await self.store.put_environment(new, any_kind=kind is None)
        for touched in put.touched:
            self.link.changed(touched)
        before = () if put.before is None else put.before.manifests
        return PutView(
            await self.view(put.environment.id),
            put.before is None,
            compare(before, new.manifests),
            ignored,
        )

    async def _environment_named(self, name: str) -> Environment | None:
        return next((e for e in await self.store.environments() if e.name == name), None)

    async def create_branch(self, base: str, name: str) -> EnvironmentView:
        """A branch without changes."""
        return await self._pushed(await self.store.create_branch(name, base))

    async def change_workload(
        self, branch: str, workload: str, edit: WorkloadEdit
    ) -> EnvironmentView:
        """The branch runs its own version of the workload."""
        present = await self.store.environment(branch)
        others = [m for m in present.manifests if m["metadata"]["name"] != workload]

        def change(own: Manifest | None, base: Sequence[Manifest]) -> Manifest:
            changed = catalog.changed_workload(workload, own, base, edit, self._parse)
            check_sendable([*others, changed])
            return changed

        return await self._pushed(await self.store.change_workload(branch, workload, change))

    async def reset_workload(self, branch: str, workload: str) -> EnvironmentView:
        """The branch uses its base's version of the workload again. Idempotent."""

        def reset(own: Manifest | None, base: Sequence[Manifest]) -> None:
            if own is None:  # its own may be all that is left of the workload
                catalog.base_workload(workload, base)

        return await self._pushed(await self.store.change_workload(branch, workload, reset))

    async def delete_environment(self, ref: str) -> None:
        """Nothing of the environment runs, and nothing of it is stored.

        A caller who leaves does not stop it. When the cluster fails to do it the environment
        stays `deleting`; deleting it again, or `finish_deletions`, goes on.

        Raises:
            NotReady: its pods take longer than `delete_patience` to end. The deletion goes on.
        """
        environment = await self.store.mark_deleting(ref)
        deletion = self._deletion(environment)
        await asyncio.wait([deletion], timeout=self.delete_patience)
        if not deletion.done():
            raise NotReady(
                f"{environment.name} is still being deleted: its pods take their time to end",
                hint="it goes on by itself; delete it again to wait for the rest",
            )
        await deletion

    async def finish_deletions(self) -> None:
        """Goes on with deletions that a restart or a lost cluster interrupted. Call at start."""
        for environment in await self.store.environments():
            if environment.status is EnvironmentStatus.DELETING:
                self._deletion(environment)

    def _deletion(self, environment: Environment) -> asyncio.Task[None]:
        task = self._deletions.get(environment.id)
        if task is None:
            name = f"delete environment {environment.name}"
            task = self.tasks.spawn(self._delete(environment), name)
            self._deletions[environment.id] = task
            task.add_done_callback(lambda _: self._deletions.pop(environment.id, None))
        return task

    async def _delete(self, environment: Environment) -> None:
        intercepts = await self.store.intercepts(environment.id)
        if environment.base is not None:
            self.link.changed(environment.base)
        await self.link.delete(environment)
        await self.store.remove_environment(environment.id)
        # Now it is gone for whoever keeps an index, and its base has a new generation.
        self._push(environment)
        for intercept in intercepts:
            self._ended(intercept)

    async def _choose_cluster(self, ref: str) -> Cluster:
        if ref:
            return await self.store.cluster(ref)
        clusters = await self.store.clusters()
        if len(clusters) == 1:
            return clusters[0]
        names = ", ".join(cluster.name for cluster in clusters)
        raise ConfigError(
            "no cluster is named, and there is not exactly one",
            hint=f"name one of: {names}" if names else "connect a cluster first",
        )

    async def _pushed(self, environment: Environment) -> EnvironmentView:
        self._push(environment)
        return await self.view(environment.id)

    def _push(self, environment: Environment) -> None:
        """The base goes along: its workloads' routes name the branch, with its generation."""
        self.link.changed(environment.id)
        if environment.base is not None:
            self.link.changed(environment.base)

    def _live(self, environment: Environment) -> Environment:
        if environment.status is EnvironmentStatus.DELETING:
            return environment
        live = self.link.status(environment)
        return dataclasses.replace(environment, status=live.status, detail=live.detail)

    async def _effective(self, environment: Environment) -> Manifests:
        base = None if environment.base is None else await self.store.environment(environment.base)
        return catalog.effective(environment, base, self._parse)

    # Logs

    async def log_source(self, ref: str, query: LogQuestion) -> LogSource:
        """Where to read what a workload of the environment prints."""
        environment = await self.store.environment(ref)
        base = None if environment.base is None else await self.store.environment(environment.base)
        owner, name = catalog.log_source(
            environment, base, query.workload, query.container, self._parse
        )
        target = LogsTarget(owner.id, name, query.container, query.lines, query.follow)
        return LogSource(owner, target)

    # Previews

    async def previews(self, ref: str) -> list[PreviewUrl]:
        """The preview URLs of an environment."""
        found = await self.store.previews(ref)
        if any(preview.tcp_port is not None for preview in found):
            await self.link.previews_settled()  # so that what is said of their ports is true
        return found

    async def create_preview(self, ref: str, wish: PreviewWish) -> tuple[PreviewUrl, bool]:
        """The preview of a service port that the environment has, and whether it is new."""
        environment = await self.store.environment(ref)
        catalog.service_port(await self._effective(environment), wish.service, wish.port)
        if wish.tcp and wish.answer_timeout is not None:
            raise ConfigError("raw TCP has no answers to wait for", hint="leave answer_timeout out")
        preview, new = await self.store.create_preview(environment.id, wish)
        if new or wish.answer_timeout is not None:
            self.link.previews_changed()
        if wish.tcp:
            await self.link.previews_settled()
        return preview, new

    async def remove_preview(self, label: str) -> None:
        """The preview is gone, and what it was reached by leads nowhere."""
        await self.store.remove_preview(label)
        self.link.previews_changed()

    # Intercepts

    async def intercepts(
        self, environment: str | None = None, device: DeviceId | None = None
    ) -> list[Intercept]:
        """All intercepts, or those of an environment or a device."""
        return await self.store.intercepts(environment, device)

    async def create_intercept(self, ref: str, wish: InterceptWish) -> Intercept:
        """The device stands in for the workload behind the service, from when it is connected.

        Its own earlier intercept of that workload is replaced; another device's is a Conflict.
        """
        environment = await self.store.environment(ref)
        manifests = await self._effective(environment)
        service = catalog.interceptable(manifests, wish.service)
        intercept = Intercept(
            id=InterceptId(new_id()),
            environment=environment.id,
            service=service.name,
            workload=catalog.workload_behind(manifests, service).name,
            device=wish.device,
            ports=catalog.port_maps(service, wish.ports),
            include_branches=wish.include_branches,
        )
        if not intercept.ports:
            raise NotFound(f"service {service.name} has no TCP port to take")
        for earlier in await self.store.intercepts(environment.id, wish.device):
            if earlier.workload == intercept.workload:
                await self.remove_intercept(earlier.id)
        await self.store.create_intercept(intercept, sha256_hex(self.tokens.token(intercept.id)))
        self._push(environment)
        self.link.intercepts_changed(intercept.device)
        return intercept

    async def remove_intercept(self, id: InterceptId) -> None:
        """The intercept is over, and its token worthless."""
        intercept = await self.store.remove_intercept(id)
        self._push(await self.store.environment(intercept.environment))
        self._ended(intercept)

    def _ended(self, intercept: Intercept) -> None:
        self.link.intercept_removed(intercept.id)
        self.link.intercepts_changed(intercept.device)


def _new_environment(
    name: str, kind: EnvironmentKind, cluster: ClusterId, objects: Sequence[Manifest]
) -> tuple[NewEnvironment, tuple[str, ...]]:
    """What the store needs of these objects, and which of them do nothing here.

    Raises:
        ConfigError: an object is wrong, or refers to what is not there.
    """
    flat = catalog.flatten(objects)
    check_sendable(flat)
    manifests = parse_objects(flat)
    if not manifests.workloads:
        kinds = ", ".join(WorkloadKind)
        raise ConfigError("the manifests have nothing to run", hint=f"add one of: {kinds}")
    check_references(manifests)
    new = NewEnvironment(
        name=name,
        kind=kind,
        cluster=cluster,
        manifests=flat,
        previews=preview_wishes(manifests),
        offered=offered_ports(manifests),
    )
    return new, manifests.ignored
