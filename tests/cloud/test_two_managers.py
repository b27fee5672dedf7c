"""F18: two managers of one cluster; who has no ready pods gets no requests while the other has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lapdev.errors import NotReady
from lapdev.model import EnvironmentId, EnvironmentStatus
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import ReportEnvironment, ServiceTarget, Target
from tests.cloud.test_edge import Stage, browser, stage
from tests.support.running_cloud import StandInManager, connected


@dataclass
class Unready(StandInManager):
    """Has the environment, and no pods of it yet."""

    asked: int = 0

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        assert isinstance(target, ServiceTarget)
        self.asked += 1
        stream.refuse(NotReady("no pod is ready", hop="manager"))


@dataclass
class Two:
    stage: Stage
    second: Unready
    tunnel: Tunnel
    """The second's."""
    environment: EnvironmentId

    async def says(self, status: EnvironmentStatus) -> None:
        """The second reports."""
        await self.tunnel.call(ReportEnvironment(self.environment, 100, status, "", ()))

    async def statuses(self, count: int, method: str = "GET") -> list[int]:
        """Of requests over a new connection each."""
        found = []
        for _ in range(count):
            async with browser(self.stage.cloud) as client:
                body = "ok" if method == "POST" else ""
                head = f"{method} / HTTP/1.1\r\nHost: {self.stage.shop}\r\n"
                client.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                found.append((await client.response())[0])
        return found


@asynccontextmanager
async def two_managers(folder: Path) -> AsyncIterator[Two]:
    async with stage(folder) as where:
        second, cloud = Unready(), where.cloud
        async with connected(cloud, "manager", cloud.cluster_token, second) as tunnel:
            view = await cloud.ok("GET", "/environments/shop")
            async with asyncio.timeout(10):
                while "shop" not in second.held:
                    await second.heard.get()
            yield Two(where, second, tunnel, EnvironmentId(view["id"]))


async def test_f18_what_one_refuses_as_not_ready_another_serves(tmp_path: Path) -> None:
    """Neither has reported: they take turns, until one refuses."""
    async with two_managers(tmp_path) as two:
        assert await two.statuses(6) == [200] * 6
        assert two.second.asked


async def test_f18_a_manager_whose_pods_are_not_ready_is_not_asked(tmp_path: Path) -> None:
    async with two_managers(tmp_path) as two:
        await two.says(EnvironmentStatus.STARTING)
        first = two.stage.tunnel
        await first.call(ReportEnvironment(two.environment, 100, EnvironmentStatus.READY, "", ()))
        assert await two.statuses(6, "POST") == [200] * 6
        assert not two.second.asked
        view = await two.stage.cloud.ok("GET", "/environments/shop")
        assert view["status"] == "ready", "the other's word does not hide it"
        await two.says(EnvironmentStatus.READY)
        assert await two.statuses(6) == [200] * 6
        assert two.second.asked == 1, "it was wrong, and is not asked again until it reports"


async def test_f18_what_nobody_can_serve_is_said(tmp_path: Path) -> None:
    async with two_managers(tmp_path) as two:
        await two.stage.tunnel.aclose("it is gone")
        assert await two.statuses(2) == [503] * 2
        assert two.second.asked == 2, "there is no other to ask"
