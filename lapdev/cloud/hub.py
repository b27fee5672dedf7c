"""The hub: the API's way to tunnels and to the edge's index. It owns no state of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lapdev.cloud.actions import EnvironmentLive
from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.devices import DeviceLinks, SidecarLinks
from lapdev.cloud.edge import Edge
from lapdev.cloud.exposures import Exposures
from lapdev.cloud.tcp_previews import TcpPreviews, TcpRoute
from lapdev.model import (
    Cluster,
    ClusterStatus,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentStatus,
    InterceptId,
    PreviewUrl,
)
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import PreviewIndex
from lapdev.store import Store


@dataclass(frozen=True, slots=True)
class Links:
    """The tunnels' handlers, by the role at the other end."""

    clusters: ClusterLinks
    devices: DeviceLinks
    sidecars: SidecarLinks
    exposures: Exposures


class Hub:
    """`ClusterLink` of the API: what it changes is carried to where it takes effect."""

    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        edge: Edge,
        tcp: TcpPreviews,
        links: Links,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._edge = edge
        self._tcp = tcp
        self._clusters = links.clusters
        self._devices = links.devices
        self._sidecars = links.sidecars
        self._exposures = links.exposures
        self._stale = False
        self.on_changed: Callable[[], None] | None = None
        """What is stored has been changed by this process."""

    async def reread(self) -> None:
        """All takes effect that another process has stored."""
        await self._exposures.load()
        await self.refresh_previews()
        for environment in await self._store.environments():
            self._clusters.changed(environment.id)
        self._devices.tell_all()

    async def refresh_previews(self) -> None:
        """The edge knows every preview URL that is stored now, and raw TCP is listened for."""
        self._stale = True
        while self._stale:  # changed again meanwhile: what was read may be old already
            self._stale = False
            previews = await self._store.previews()
            environments = await self._store.environments()
            live = [e for e in environments if e.status is not EnvironmentStatus.DELETING]
            self._edge.index = PreviewIndex.build(previews, live)
            await self.refresh_ports()

    async def refresh_ports(self) -> None:
        """Every raw TCP preview and exposure is listened for, as far as its port is free."""
        index = self._edge.index.tcp
        routes = {label: TcpRoute.of(entry, self._clusters) for label, entry in index.items()}
        await self._tcp.refresh(routes | self._exposures.routes())

    def _refresh_soon(self) -> None:
        self._stale = True
        refreshing = self._edge.refreshing
        if refreshing is None or refreshing.done():
            self._edge.refreshing = self._tasks.spawn(self.refresh_previews(), "refresh previews")

    def _note_change(self) -> None:
        if self.on_changed is not None:
            self.on_changed()

    # ClusterLink

    def changed(self, environment: EnvironmentId) -> None:
        self._note_change()
        self._refresh_soon()
        self._clusters.changed(environment)
        self._devices.environment_changed(environment)

    def previews_changed(self) -> None:
        self._note_change()
        self._refresh_soon()

    async def previews_settled(self) -> None:
        if self._edge.refreshing is not None:
            await asyncio.wait([self._edge.refreshing])

    def preview_problem(self, preview: PreviewUrl) -> str:
        return "" if preview.tcp_port is None else self._tcp.problem(preview.label)

    async def delete(self, environment: Environment) -> None:
        self._edge.index = self._edge.index.without(environment.id)
        await self.refresh_ports()
        await self._clusters.delete(environment)

    def status(self, environment: Environment) -> EnvironmentLive:
        return self._clusters.environment_live(environment)

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        return self._clusters.cluster_status(cluster)

    def cluster_detail(self, cluster: Cluster) -> str:
        return self._clusters.cluster_detail(cluster)

    def device_connected(self, device: DeviceId) -> bool:
        return self._devices.tunnel_of(device) is not None

    def intercepts_changed(self, device: DeviceId) -> None:
        self._note_change()
        self._devices.intercepts_changed(device)

    def intercept_removed(self, intercept: InterceptId) -> None:
        self._sidecars.intercept_removed(intercept)
