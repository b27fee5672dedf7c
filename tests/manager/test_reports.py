"""What the cloud hears, over a real tunnel."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lapdev.errors import NotFound
from lapdev.manager import reports as module
from lapdev.manager.changes import Changes
from lapdev.manager.reports import Reports
from lapdev.model import EnvironmentId, EnvironmentStatus
from lapdev.net.tasks import Tasks
from lapdev.wire.control import ReportEnvironment
from tests.support.tunnel_ends import Ends, connected, failing

ONE, TWO = EnvironmentId("one"), EnvironmentId("two")


def report(environment: EnvironmentId, generation: int = 1) -> ReportEnvironment:
    return ReportEnvironment(environment, generation, EnvironmentStatus.STARTING, "", ())


@dataclass
class Stage:
    ends: Ends
    now: dict[EnvironmentId, ReportEnvironment] = field(default_factory=dict)
    """How every environment is."""

    def __post_init__(self) -> None:
        self.changes: Changes[EnvironmentId] = Changes(interval=0.005)
        self.reports = Reports(self.changes, self.now.get, lambda: list(self.now))

    def set(self, environment: EnvironmentId, generation: int) -> None:
        self.now[environment] = report(environment, generation)
        self.changes.mark(environment)

    @property
    def heard(self) -> list[tuple[str, int]]:
        calls = self.ends.acceptor.watcher.calls
        return [(c.id, c.generation) for c in calls if isinstance(c, ReportEnvironment)]

    async def until_heard(self, *expected: tuple[str, int]) -> None:
        await self.ends.acceptor.watcher.wait_until(
            lambda _: self.heard[-len(expected) :] == [*expected]
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        stage = Stage(ends)
        tasks.spawn(stage.reports.run(), "reports")
        yield stage


async def test_everything_is_reported_after_a_connect_and_then_what_changes(stage: Stage) -> None:
    stage.set(ONE, 1)
    stage.set(TWO, 1)
    stage.reports.connect(stage.ends.tunnel)
    await stage.until_heard(("one", 1), ("two", 1))
    stage.set(TWO, 2)
    await stage.until_heard(("two", 2))
    assert len(stage.heard) == 3


async def test_a_mark_without_a_change_is_not_reported(stage: Stage) -> None:
    stage.reports.connect(stage.ends.tunnel)
    stage.set(ONE, 1)
    await stage.until_heard(("one", 1))
    stage.changes.mark(ONE)
    stage.set(TWO, 1)
    await stage.until_heard(("two", 1))
    assert len(stage.heard) == 2


async def test_a_burst_of_changes_is_one_report(stage: Stage) -> None:
    stage.reports.connect(stage.ends.tunnel)
    stage.set(ONE, 1)
    await stage.until_heard(("one", 1))
    for generation in range(2, 50):
        stage.set(ONE, generation)
    await stage.until_heard(("one", 49))
    assert len(stage.heard) == 2


async def test_what_changes_without_a_tunnel_is_told_by_the_next(stage: Stage) -> None:
    stage.set(ONE, 1)
    stage.reports.connect(stage.ends.tunnel)
    await stage.until_heard(("one", 1))
    stage.reports.disconnect(stage.ends.tunnel)
    stage.set(ONE, 2)
    stage.reports.connect(stage.ends.tunnel)
    await stage.until_heard(("one", 2))


async def test_the_end_of_an_older_tunnel_does_not_disturb_the_newer(stage: Stage) -> None:
    stage.reports.connect(stage.ends.tunnel)
    stage.reports.disconnect(stage.ends.acceptor.tunnel)
    stage.set(ONE, 1)
    await stage.until_heard(("one", 1))


async def test_a_refused_report_is_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    watcher = stage.ends.acceptor.watcher
    good, watcher.answer = watcher.answer, failing(NotFound("who?"))
    stage.reports.connect(stage.ends.tunnel)
    stage.set(ONE, 1)
    await watcher.wait_until(lambda _: len(stage.heard) >= 2)
    watcher.answer = good
    stage.set(ONE, 2)
    await stage.until_heard(("one", 2))


async def test_an_environment_that_is_gone_is_not_reported(stage: Stage) -> None:
    stage.reports.connect(stage.ends.tunnel)
    stage.set(ONE, 1)
    await stage.until_heard(("one", 1))
    del stage.now[ONE]
    stage.changes.mark(ONE)
    stage.set(TWO, 1)
    await stage.until_heard(("two", 1))
    stage.now[ONE] = dataclasses.replace(report(ONE), detail="it came back")
    stage.changes.mark(ONE)
    await stage.until_heard(("one", 1))


async def test_a_tunnel_that_ends_ends_nothing_else(stage: Stage) -> None:
    tunnel = stage.ends.tunnel
    stage.reports.connect(tunnel)
    await tunnel.aclose("over")
    stage.set(ONE, 1)
    fresh = await stage.ends.uplink.wait_up()
    stage.reports.connect(fresh)
    await stage.until_heard(("one", 1))
