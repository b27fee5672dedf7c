"""A process that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.output import Output
from lapdev.cluster.readiness import Check
from lapdev.cluster.spawner import Child, Command, Spawner
from lapdev.cluster.supervised import CONTAINER_BACKOFF, SIDECAR_BACKOFF, Backoff, Role, Supervised


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (CONTAINER_BACKOFF, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]),
        (SIDECAR_BACKOFF, [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]),
    ],
)
def test_pauses_grow_to_a_limit(backoff: Backoff, pauses: list[float]) -> None:
    assert [backoff.pause(runs) for runs in range(1, 10)] == pytest.approx(pauses)


class Case:
    """One supervised shell script."""

    def __init__(self, folder: Path, script: str) -> None:
        self.script = script
        self.spawner = Spawner(sys.executable, isolation=False)
        self.changed = asyncio.Event()
        self.ends = 0
        role = Role("web", self._start, lambda _: Check(self._ready), FAST, self._ended)
        self.process = Supervised(role, Output(folder / "web.log"), self.changed.set)
        self.nowhere: Any = None

    async def _start(self, _: Any) -> Child:
        argv = ["/bin/sh", "-c", self.script]
        return await self.spawner.spawn(Command(argv, {}, output=self.process.output.fd))

    async def _ready(self) -> bool:
        return True

    def _ended(self) -> None:
        self.ends += 1

    async def until(self, condition: Any) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def run(self, *steps: Any) -> None:
        await self.process.output.open()
        await asyncio.gather(self.process.run(self.nowhere), *steps)
        self.process.output.close()
        await self.spawner.aclose()


FAST = Backoff(first=0.0, again=0.0, longest=0.0, healthy=100.0)


async def test_it_starts_again_until_it_is_stopped(tmp_path: Path) -> None:
    case = Case(tmp_path, "echo no database; exit 3")

    async def stop() -> None:
        await case.until(lambda: case.process.restarts >= 3)
        case.process.stop()

    await case.run(stop())
    assert case.process.problem == "web ended with status 3: lapdev: ended with status 3" or (
        "no database" in case.process.problem
    )
    assert case.ends >= 3
    assert not case.process.ready


async def test_stopping_a_ready_process_is_no_restart(tmp_path: Path) -> None:
    case = Case(tmp_path, "exec sleep 1000")

    async def stop() -> None:
        await case.until(lambda: case.process.ready)
        assert case.process.pid is not None
        case.process.stop()
        await case.process.wait_ended()

    await case.run(stop())
    assert (case.process.restarts, case.process.ready, case.process.pid) == (0, False, None)


async def test_a_stop_before_the_start_means_no_start(tmp_path: Path) -> None:
    case = Case(tmp_path, "exit 0")
    case.process.stop()
    await case.run()
    await case.process.wait_ended()
    assert case.ends == 0
