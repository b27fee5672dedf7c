"""Containers of a pod template in a stand-in sandbox, by a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lapdev.cluster.containers import ContainerRole, Neighbourhood
from lapdev.cluster.crew import Crew, Member
from lapdev.cluster.manifests import Container
from lapdev.cluster.output import Output
from lapdev.cluster.pod_phase import entries, unchanged
from lapdev.cluster.sandbox import Program
from lapdev.cluster.supervised import Supervised
from lapdev.net.tasks import Tasks
from tests.support.one_pod import template, wanted
from tests.support.standin_sandbox import StandInSandbox
from tests.support.virtual_time import run_virtual


@dataclass
class Stage:
    """A crew at work. A container's process goes by the container's name."""

    sandbox: StandInSandbox
    folder: Path
    spec: dict[str, Any]
    prepared: int = 0
    changes: list[float] = field(default_factory=list)
    outcome: bool | None = None
    failure: Exception | None = None
    held: dict[str, frozenset[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.workload = wanted(template(**self.spec))
        self.lineup = [self._member(entry) for entry in entries(self.workload.facts.pod)]
        self.crew = Crew(self.sandbox, self.lineup, self._prepare, self._changed)

    def update(self, **spec: Any) -> None:
        old, self.workload = self.workload, wanted(template(**self.spec | spec))
        same = unchanged(old, self.workload)
        known = {member.process.name: member for member in self.lineup}
        self.lineup = [
            known[entry.container.name] if entry.container.name in same else self._member(entry)
            for entry in entries(self.workload.facts.pod)
        ]
        self.crew.update(self.lineup)

    def process(self, name: str) -> Supervised:
        return next(each.process for each in self.lineup if each.process.name == name)

    async def run(self) -> None:
        try:
            self.outcome = await self.crew.run()
        except Exception as exc:
            self.failure = exc

    def _member(self, entry: Any) -> Member:
        output = Output(self.folder / f"{entry.container.name}.log")
        around = Neighbourhood(self._program, lambda _sandbox, _but: self.held)
        role = ContainerRole(entry.container, entry.policy, 30.0, around)
        return Member(entry.part, Supervised(role, output, self._changed))

    def _program(self, container: Container) -> Program:
        return Program([container.name], {}, "/", container=container.name)

    def _changed(self) -> None:
        self.changes.append(asyncio.get_running_loop().time())

    async def _prepare(self) -> None:
        self.prepared += 1


Steps = Callable[[Stage], Coroutine[Any, Any, None]]


def on_stage(folder: Path, spec: dict[str, Any], steps: Steps, **sandbox: Any) -> list[str]:
    """What happened in the sandbox while the crew worked and the steps were taken."""

    async def main() -> list[str]:
        stage = Stage(StandInSandbox(**sandbox), folder, spec)
        async with Tasks() as tasks:
            tasks.spawn(stage.run(), "crew")
            await steps(stage)
            diary = [*stage.sandbox.diary]
        await stage.sandbox.kill()
        await stage.crew.aclose()
        return diary

    return run_virtual(main)
