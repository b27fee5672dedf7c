"""A devbox that exposes something, in the test's own loop, at a cloud of `running_cloud`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from lapdev.devbox.app import TUNNEL_PATH
from lapdev.devbox.exposing import Exposer, Exposing, Reports
from lapdev.model import ExposureKind, RoleName
from lapdev.net.address import TcpAddress
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Uplink, UplinkOptions, new_id
from lapdev.wire.control import ExposureState, RequestSeen
from tests.support.running_cloud import DOMAIN, QUICK, RunningCloud
from tests.support.watch import Watch

KEY = "a" * 64


def exposing(local: int, kind: ExposureKind = ExposureKind.HTTP, **changes: object) -> Exposing:
    """Of the port `local` of this machine."""
    given: dict[str, object] = {"name": "web", "key": KEY, "watch": True} | changes
    return Exposing(TcpAddress("127.0.0.1", local), kind, **given)  # type: ignore[arg-type]


class Recorded(Reports):
    """What was reported, to be waited for."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.seen: list[RequestSeen] = []
        self.changed = Watch()

    def exposed(self, state: ExposureState) -> None:
        self._note("exposed")

    def disconnected(self, reason: str, hint: str = "") -> None:
        self._note("disconnected")

    def target_lost(self, reason: str) -> None:
        self._note("target_lost")

    def target_found(self) -> None:
        self._note("target_found")

    def requests(self, seen: tuple[RequestSeen, ...], more: int) -> None:
        self.seen += seen
        self._note("requests")

    async def wait_for(self, event: str, count: int = 1) -> None:
        await self.changed.until(lambda: self.events.count(event) >= count)

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed()


@dataclass(slots=True)
class ExposingDevbox:
    exposer: Exposer
    uplink: Uplink
    reports: Recorded

    @property
    def state(self) -> ExposureState:
        assert self.exposer.state is not None
        return self.exposer.state

    @property
    def port(self) -> int:
        """Of the cloud, where a raw one is reached."""
        return int(self.state.url.rpartition(":")[2])

    @property
    def host(self) -> str:
        return f"{self.state.id}.{DOMAIN}"

    async def get(self, cloud: RunningCloud, path: str = "/") -> httpx.Response:
        """As a visitor's browser asks."""
        return await cloud.api.get(path, headers={"host": self.host})


@asynccontextmanager
async def exposing_devbox(
    cloud: RunningCloud, wanted: Exposing, *, wait: bool = True
) -> AsyncIterator[ExposingDevbox]:
    """Exposed, if `wait`. At the end the link is closed, and the exposure not ended."""
    async with Tasks() as tasks:
        reports = Recorded()
        exposer = Exposer(wanted, tasks, reports)
        options = UplinkOptions(
            cloud.address, TUNNEL_PATH, cloud.token, RoleName.DEVBOX, new_id(), tunnel=QUICK
        )
        uplink = Uplink(options, exposer)
        tasks.spawn(uplink.run(), "exposing uplink")
        if wait:
            await reports.wait_for("exposed")
        yield ExposingDevbox(exposer, uplink, reports)
