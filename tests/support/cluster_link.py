"""A cluster link that takes note of what it is told and reports what it is given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lapdev.cloud.actions import EnvironmentLive
from lapdev.errors import LapdevError
from lapdev.model import (
    Cluster,
    ClusterStatus,
    DeviceId,
    Environment,
    EnvironmentId,
    InterceptId,
    PreviewUrl,
)


@dataclass
class RecordingLink:
    """`lapdev.cloud.actions.ClusterLink` without a cluster."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    live: dict[EnvironmentId, EnvironmentLive] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)
    details: dict[str, str] = field(default_factory=dict)
    """Cluster name → detail."""
    problems: dict[str, str] = field(default_factory=dict)
    """Preview label → why it is not served."""
    delete_error: LapdevError | None = None
    delete_gate: asyncio.Event | None = None
    """When set, `delete` waits for it."""
    delete_began: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self, environment: EnvironmentId) -> None:
        self.calls.append(("changed", environment))

    def previews_changed(self) -> None:
        self.calls.append(("previews_changed", ""))

    async def previews_settled(self) -> None:
        """There are no listeners."""

    def preview_problem(self, preview: PreviewUrl) -> str:
        return self.problems.get(preview.label, "")

    async def delete(self, environment: Environment) -> None:
        self.calls.append(("delete", environment.id))
        self.delete_began.set()
        if self.delete_gate is not None:
            await self.delete_gate.wait()
        if self.delete_error is not None:
            raise self.delete_error

    def status(self, environment: Environment) -> EnvironmentLive:
        return self.live.get(environment.id, EnvironmentLive())

    def cluster_status(self, cluster: Cluster) -> ClusterStatus:
        return ClusterStatus.READY if cluster.name in self.connected else cluster.status

    def cluster_detail(self, cluster: Cluster) -> str:
        return self.details.get(cluster.name, "")

    def device_connected(self, device: DeviceId) -> bool:
        return device in self.connected

    def intercepts_changed(self, device: DeviceId) -> None:
        self.calls.append(("intercepts_changed", device))

    def intercept_removed(self, intercept: InterceptId) -> None:
        self.calls.append(("intercept_removed", intercept))

    def taken(self) -> list[tuple[str, str]]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls
