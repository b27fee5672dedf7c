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
from lapdev.cloud.tokens import InterceptTokens, sha256_hex
from lapdev.cluster.manifests import Manifests, WorkloadKind, parse_objects
from lapdev.errors import ConfigError, NotFound
from lapdev.model import (
    Cluster,
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
from lapdev.store import NewEnvironment, Store
from lapdev.store.names import new_id


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

        Also after it was removed, and when it got a preview URL.
        """

    async def delete(self, environment: Environment) -> None:
        """Nothing of the environment runs any more, or its absent cluster will see to it.

        Raises TunnelError when it has to be asked again.
        """

    def status(self, environment: Environment) -> EnvironmentLive:
        """What runs of the environment."""

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        """How the cluster is connected; its stored status if it never was in this process."""

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
    preview_url: Callable[[str], str]
    """Label → the whole URL."""
    tasks: Tasks = field(default_factory=Tasks)
    """Owns deletions, which outlive the call that asked for them. Closed by `aclose`."""
    _deletions: dict[EnvironmentId, asyncio.Task[None]] = field(default_factory=dict)

    async def aclose(self) -> None:
        """No deletion runs any more; unfinished ones go on at the next start. Idempotent."""
        await self.tasks.aclose()

    # Clusters

    async def clusters(self) -> list[Cluster]:
        """All clusters with their status of this moment."""
        return [self._with_status(cluster) for cluster in await self.store.clusters()]

    def _with_status(self, cluster: Cluster) -> Cluster:
        return dataclasses.replace(cluster, status=self.link.cluster_status(cluster))

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
        live = self.link.status(environment)
        if not live.services:
            services = catalog.effective(environment, base).services
            live = dataclasses.replace(live, services=services)
        return EnvironmentView(
            summary=EnvironmentSummary(
                self._live(environment), cluster.name, None if base is None else base.name
            ),
            live=live,
            branches=tuple(await self.store.branches(environment.id)),
            previews=tuple(await self.store.previews(environment.id)),
            intercepts=tuple(await self.store.intercepts(environment.id)),
        )

    async def create_environment(
        self, name: str, kind: EnvironmentKind, cluster: str, objects: Sequence[Manifest]
    ) -> EnvironmentView:
        """A personal or shared environment is stored and on its way to the cluster.

        `cluster` is a name or id; empty takes the only cluster there is.
        """
        flat = catalog.flatten(objects)
        manifests = parse_objects(flat)
        if not manifests.workloads:
            kinds = ", ".join(WorkloadKind)
            raise ConfigError("the manifests have nothing to run", hint=f"add one of: {kinds}")
        new = NewEnvironment(
            name=name,
            kind=kind,
            cluster=(await self._choose_cluster(cluster)).id,
            manifests=flat,
            previews=catalog.marked_previews(manifests),
        )
        return await self._pushed(await self.store.create_environment(new))

    async def create_branch(self, base: str, name: str) -> EnvironmentView:
        """A branch without changes."""
        return await self._pushed(await self.store.create_branch(name, base))

    async def change_workload(
        self, branch: str, workload: str, edit: WorkloadEdit
    ) -> EnvironmentView:
        """The branch runs its own version of the workload."""
        changed = await self.store.change_workload(
            branch,
            workload,
            lambda own, base: catalog.changed_workload(workload, own, base, edit),
        )
        return await self._pushed(changed)

    async def reset_workload(self, branch: str, workload: str) -> EnvironmentView:
        """The branch uses its base's version of the workload again. Idempotent."""

        def reset(own: Manifest | None, base: Sequence[Manifest]) -> None:
            catalog.base_workload(workload, base)

        return await self._pushed(await self.store.change_workload(branch, workload, reset))

    async def delete_environment(self, ref: str) -> None:
        """Nothing of the environment runs, and nothing of it is stored.

        A caller who leaves does not stop it. When the cluster fails to do it the environment
        stays `deleting`; deleting it again, or `finish_deletions`, goes on.
        """
        environment = await self.store.mark_deleting(ref)
        await asyncio.shield(self._deletion(environment))

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
        self.link.changed(environment.id)  # now it is gone for whoever keeps an index
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
        if environment.base is None:
            return catalog.effective(environment, None)
        return catalog.effective(environment, await self.store.environment(environment.base))

    # Previews

    async def previews(self, ref: str) -> list[PreviewUrl]:
        """The preview URLs of an environment."""
        return await self.store.previews(ref)

    async def create_preview(self, ref: str, service: str, port: int) -> PreviewUrl:
        """A preview URL for a service port that the environment has."""
        environment = await self.store.environment(ref)
        catalog.service_port(await self._effective(environment), service, port)
        preview = await self.store.create_preview(environment.id, service, port)
        self.link.changed(environment.id)  # the edge's index, too, is made from what is stored
        return preview

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
        service = catalog.service_named(manifests, wish.service)
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
