"""The manager's side of its tunnel to the cloud: which call and which stream means what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from lapdev import __version__
from lapdev.errors import Forbidden, Overloaded, TunnelError
from lapdev.log import get_logger
from lapdev.manager.logs import LogStreams
from lapdev.manager.reconciler import Reconciler
from lapdev.manager.reports import Reports
from lapdev.manager.streams import ServiceStreams
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import (
    ApplyEnvironment,
    DeleteEnvironment,
    Done,
    ExposureTarget,
    InterceptTarget,
    LogsTarget,
    Message,
    ReportCluster,
    ServiceTarget,
    SyncEnvironments,
    Target,
)


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """What the manager knows about its cluster and the cloud does not."""

    driver: str
    detail: str
    """What the driver's machine cannot do for pods."""
    sidecar_cloud: str
    """Where the cloud is, as seen from a pod."""


@dataclass(frozen=True, slots=True)
class Openers:
    """Who opens which kind of stream."""

    services: ServiceStreams
    logs: LogStreams
    admit: Callable[[], None] = lambda: None
    """Raises Overloaded when no stream is to be opened."""


class CloudLink:
    """Hands the cloud's calls and streams to those who carry them out. A `tunnel.TunnelHandler`."""

    def __init__(
        self,
        reconciler: Reconciler,
        reports: Reports,
        openers: Openers,
        tasks: Tasks,
        place: ClusterPlace,
    ) -> None:
        self._reconciler = reconciler
        self._reports = reports
        self._openers = openers
        self._tasks = tasks
        self._place = place

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        try:
            self._openers.admit()
        except Overloaded as exc:
            stream.refuse(exc)
            return
        match target:
            case ServiceTarget():
                self._openers.services.open(stream, target)
            case LogsTarget():
                self._openers.logs.open(stream, target)
            case InterceptTarget() | ExposureTarget():
                stream.refuse(Forbidden("a manager reaches no laptops", hop="manager"))
            case _:
                assert_never(target)

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        match message:
            case SyncEnvironments():
                return self._reconciler.sync(message)
            case ApplyEnvironment():
                self._reconciler.apply(self._located(message))
            case DeleteEnvironment():
                await self._reconciler.delete(message.id)
            case _:
                raise Forbidden(f"a manager does not take {type(message).__name__}", hop="manager")
        return Done()

    def _located(self, message: ApplyEnvironment) -> ApplyEnvironment:
        """Where sidecars reach the cloud is known here: it cannot know from where it is seen."""
        cloud = self._place.sidecar_cloud
        grants = tuple(replace(grant, cloud=cloud) for grant in message.intercepts)
        return ApplyEnvironment(message.environment, grants)

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self._tasks.spawn(self._greet(tunnel), "report-cluster")
        self._reports.connect(tunnel)

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        get_logger().info("cloud_unreachable", error=str(error))

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._reports.disconnect(tunnel)
        get_logger().info("cloud_tunnel_closed", error=str(error))

    async def _greet(self, tunnel: Tunnel) -> None:
        try:
            await tunnel.call(ReportCluster(__version__, self._place.driver, self._place.detail))
        except TunnelError as exc:
            get_logger().warning("report_refused", error=exc.detail)
