"""What the cloud hears: every environment's state, on each change and again after each connect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from lapdev.errors import TunnelClosed, TunnelError
from lapdev.log import get_logger
from lapdev.manager.changes import Changes
from lapdev.model import EnvironmentId
from lapdev.tunnel import Tunnel
from lapdev.wire.control import ReportEnvironment

RETRY_INTERVAL = 5.0
"""Before a report the cloud refused is sent again."""


class Reports:
    """Sends what changed since it was last sent, a burst of changes at once."""

    def __init__(
        self,
        changes: Changes[EnvironmentId],
        report: Callable[[EnvironmentId], ReportEnvironment | None],
        environments: Callable[[], Iterable[EnvironmentId]],
    ) -> None:
        """`changes` says which changed, `report` how one is, `environments` which there are."""
        self._report = report
        self._environments = environments
        self._changes = changes
        self._sent: dict[EnvironmentId, ReportEnvironment] = {}
        self._tunnel: Tunnel | None = None

    def connect(self, tunnel: Tunnel) -> None:
        """Reports go into `tunnel`, and everything is reported afresh."""
        self._tunnel = tunnel
        self._sent.clear()
        for environment in self._environments():
            self._changes.mark(environment)

    def disconnect(self, tunnel: Tunnel) -> None:
        """The tunnel is over. What changes from now on is told after the next `connect`."""
        if self._tunnel is tunnel:
            self._tunnel = None

    async def run(self) -> None:
        """Sends until cancelled."""
        while True:
            for environment in await self._changes.take():
                await self._send(environment)

    async def _send(self, environment: EnvironmentId) -> None:
        tunnel, report = self._tunnel, self._report(environment)
        if report is None:
            self._sent.pop(environment, None)
            return
        if tunnel is None or self._sent.get(environment) == report:
            return
        self._sent[environment] = report
        try:
            await tunnel.call(report)
        except TunnelClosed:
            return  # the next connect reports everything
        except TunnelError as exc:
            self._sent.pop(environment, None)
            asyncio.get_running_loop().call_later(RETRY_INTERVAL, self._changes.mark, environment)
            get_logger().warning("report_refused", environment=environment, error=exc.detail)
