"""What visitors ask of an exposure, told to its devbox: in batches, and never all at any price."""

from __future__ import annotations

import asyncio

from lapdev.errors import LapdevError
from lapdev.log import AccessLine, get_logger
from lapdev.model import ExposureId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Tunnel
from lapdev.wire.control import RequestSeen, RequestsSeen

FEED_INTERVAL = 0.2
MOST_LINES = 100
"""In one batch; of more only the number is told. A terminal scrolls no faster than people read."""


class RequestFeed:
    """Of one exposure. Costs nothing while nobody watches."""

    def __init__(self, exposure: ExposureId, tasks: Tasks, interval: float = FEED_INTERVAL) -> None:
        self._exposure = exposure
        self._tasks = tasks
        self._interval = interval
        self._watching: list[Tunnel] = []
        self._lines: list[RequestSeen] = []
        self._more = 0
        self._telling = False

    def watch(self, tunnel: Tunnel, wanted: bool) -> None:
        """The devbox at the tunnel's other end wants to be told, or does not."""
        if tunnel in self._watching:
            self._watching.remove(tunnel)
        if wanted:
            self._watching.append(tunnel)

    def note(self, line: AccessLine) -> None:
        """An exchange has ended."""
        if not self._watching:
            return
        if len(self._lines) >= MOST_LINES:
            self._more += 1
        else:
            self._lines.append(
                RequestSeen(
                    method=line.method[:32],
                    path=line.path.partition("?")[0][:256],
                    status=line.status,
                    duration_ms=round(line.duration_ms, 2),
                    bytes_in=line.bytes_in,
                    bytes_out=line.bytes_out,
                    error=line.error,
                )
            )
        if not self._telling:
            self._telling = True
            self._tasks.spawn(self._tell(), f"requests seen at {self._exposure}")

    async def _tell(self) -> None:
        """One call at a time: a devbox that takes them slowly gets larger batches."""
        try:
            while self._lines:
                await asyncio.sleep(self._interval)  # what comes meanwhile goes along
                batch = RequestsSeen(self._exposure, tuple(self._lines), self._more)
                self._lines, self._more = [], 0
                for tunnel in [tunnel for tunnel in self._watching if tunnel.connected]:
                    await self._send(tunnel, batch)
        finally:
            self._telling = False

    async def _send(self, tunnel: Tunnel, batch: RequestsSeen) -> None:
        try:
            await tunnel.call(batch)
        except LapdevError as exc:
            get_logger().debug("requests_not_told", error=exc.detail)
