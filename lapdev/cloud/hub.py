"""The hub: the API's way to tunnels and to the edge's index. It owns no state of its own."""

from __future__ import annotations

from lapdev.cloud.actions import EnvironmentLive
from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.devices import DeviceLinks, SidecarLinks
from lapdev.cloud.edge import Edge
from lapdev.model import (
    Cluster,
    ClusterStatus,
    DeviceId,
    Environment,
    EnvironmentId,
    InterceptId,
)
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import PreviewIndex
from lapdev.store import Store


class Hub:
    """`ClusterLink` of the API: what it changes is carried to where it takes effect."""

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        edge: Edge,
        clusters: ClusterLinks,
        devices: DeviceLinks,
        sidecars: SidecarLinks,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._edge = edge
        self._clusters = clusters
        self._devices = devices
        self._sidecars = sidecars

    async def refresh_previews(self) -> None:
        """The edge knows every preview URL that is stored now."""
        previews = await self._store.previews()
        environments = await self._store.environments()
        self._edge.index = PreviewIndex.build(previews, environments)

    # ClusterLink

    def changed(self, environment: EnvironmentId) -> None:
        self._edge.refreshing = self._tasks.spawn(self.refresh_previews(), "refresh previews")
        self._clusters.changed(environment)

    async def delete(self, environment: Environment) -> None:
        await self._clusters.delete(environment)

    def status(self, environment: Environment) -> EnvironmentLive:
        return self._clusters.environment_live(environment)

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        return self._clusters.cluster_status(cluster)

    def device_connected(self, device: DeviceId) -> bool:
        return self._devices.tunnel_of(device) is not None

    def intercepts_changed(self, device: DeviceId) -> None:
        self._devices.intercepts_changed(device)

    def intercept_removed(self, intercept: InterceptId) -> None:
        self._sidecars.intercept_removed(intercept)
