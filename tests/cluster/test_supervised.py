"""A process that is started again as its policy says. Told by a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.manifests import RestartPolicy
from lapdev.cluster.output import Output
from lapdev.cluster.sandbox import Program, Sandbox
from lapdev.cluster.spawner import Child
from lapdev.cluster.supervised import (
    CONTAINER_BACKOFF,
    SIDECAR_BACKOFF,
    Backoff,
    Run,
    Supervised,
)
from lapdev.errors import ClusterError, ConfigError
from lapdev.net.tasks import Tasks
from tests.support.standin_sandbox import StandInSandbox, ends, stubborn
from tests.support.virtual_time import run_virtual


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (CONTAINER_BACKOFF, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]),
        (SIDECAR_BACKOFF, [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]),
    ],
)
def test_pauses_grow_to_a_limit(backoff: Backoff, pauses: list[float]) -> None:
    assert [backoff.pause(runs) for runs in range(1, 10)] == pytest.approx(pauses)
    assert backoff.pause(10_000) == pauses[-1]


class PlainRole:
    """A process called `web`, ready at once."""

    name = "web"
    backoff = CONTAINER_BACKOFF
    grace = 30.0

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self.ends = 0
        self.explained = ""
        self.wrong: list[Exception] = []
        self.hook: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.care: Callable[[Run], Coroutine[Any, Any, None]] | None = None

    async def start(self, sandbox: Sandbox, output: int) -> Child:
        if self.wrong:
            raise self.wrong.pop(0)
        return await sandbox.spawn(Program(["web"], {}, "/", output))

    async def look_after(self, run: Run) -> None:
        run.note_started()
        run.note_ready(True)
        if self.care:
            await self.care(run)

    async def before_stop(self, run: Run) -> None:
        if self.hook:
            await self.hook()

    def explain(self, sandbox: Sandbox, lines: list[str]) -> str:
        return self.explained

    def ended(self) -> None:
        self.ends += 1


class Case:
    def __init__(self, folder: Path, policy: RestartPolicy, **sandbox: Any) -> None:
        self.sandbox = StandInSandbox(**sandbox)
        self.role = PlainRole(policy)
        self.output = Output(folder / "web.log")
        self.output.open()
        self.problems: list[str] = []
        self.process = Supervised(self.role, self.output, self._changed)

    def _changed(self) -> None:
        self.problems.append(self.process.problem)

    @property
    def lines(self) -> list[str]:
        return [text for _, text in self.output.last(1000)]


ALWAYS, ON_FAILURE, NEVER = RestartPolicy


def run_case(
    folder: Path,
    steps: Callable[[Case, asyncio.Task[None]], Coroutine[Any, Any, None]],
    policy: RestartPolicy = ALWAYS,
    **sandbox: Any,
) -> Case:
    """The process runs while `steps` are taken; the case afterwards."""

    async def main() -> Case:
        case = Case(folder, policy, **sandbox)
        async with Tasks() as tasks:
            running = tasks.spawn(case.process.run(case.sandbox), "run")
            await steps(case, running)
            case.output.close()
        return case

    return run_virtual(main)


async def for_a_minute(case: Case, running: asyncio.Task[None]) -> None:
    await asyncio.sleep(60)


def starts(case: Case) -> list[float]:
    return [float(line.split()[0]) for line in case.sandbox.diary if "start" in line]


def test_what_keeps_failing_is_started_after_ever_longer_pauses(tmp_path: Path) -> None:
    case = run_case(tmp_path, for_a_minute, behave={"web": ends(3, "no database")})
    expected = [0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 22.7, 32.7, 42.7, 52.7]
    assert starts(case) == pytest.approx(expected)
    assert case.process.restarts == len(expected)
    assert case.process.last_exit == "exit code 3: no database"
    told = [problem for problem in dict.fromkeys(case.problems) if problem]
    assert told[:2] == [
        "web: restarting, 1st time: exit code 3: no database",
        "web: restarting, 2nd time: exit code 3: no database",
    ]
    assert told[5] == "web: restarting in 3 s, 6th time: exit code 3: no database"
    assert case.lines[:4] == ["no database", "lapdev: exit code 3"] * 2


def test_a_run_that_lasted_starts_the_pauses_over(tmp_path: Path) -> None:
    async def steps(case: Case, _: asyncio.Task[None]) -> None:
        for lasts in (1, 1, 1, 10, 1, 1):
            count = len(starts(case))
            await case.sandbox.changed.until(lambda: len(starts(case)) > count)  # noqa: B023
            await asyncio.sleep(lasts)
            case.sandbox.child("web").end(1)

    case = run_case(tmp_path, steps)
    pauses = [0.1, 0.2, 0.4, 0.1, 0.2]
    begun = [0.0]
    for lasted, pause in zip((1, 1, 1, 10, 1), pauses, strict=True):
        begun.append(begun[-1] + lasted + pause)
    assert starts(case) == pytest.approx(begun)


@pytest.mark.parametrize(
    ("policy", "status", "again"),
    [
        (ALWAYS, 0, True),
        (ALWAYS, 1, True),
        (ON_FAILURE, 0, False),
        (ON_FAILURE, 1, True),
        (ON_FAILURE, -9, True),
        (NEVER, 0, False),
        (NEVER, 1, False),
    ],
)
def test_the_policy_says_what_is_started_again(
    tmp_path: Path, policy: RestartPolicy, status: int, again: bool
) -> None:
    case = run_case(tmp_path, for_a_minute, policy, behave={"web": ends(status, "said")})
    assert (len(starts(case)) > 1) is again
    final = case.process.final
    assert (final is None) is again
    if final and status:
        assert case.process.problem == "web: exit code 1: said (not restarted)"
    elif final:
        assert (final.ok, case.process.problem) == (True, "")
    assert not case.process.ready


def test_stopping_a_ready_process_is_no_restart(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        await asyncio.sleep(1)
        assert case.process.ready
        assert case.process.pid is not None
        await case.process.stop()
        await running

    case = run_case(tmp_path, steps)
    assert case.sandbox.diary == ["0 start web", "1 SIGTERM web"]
    process = case.process
    assert (process.restarts, process.ready, process.pid, process.final) == (0, False, None, None)
    assert case.role.ends == 1


def test_a_stop_before_the_start_means_no_start(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        await case.process.stop()
        await running

    assert run_case(tmp_path, steps).sandbox.diary == []


def test_a_stop_while_it_starts_ends_it(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        await asyncio.sleep(0)
        await case.process.stop()
        await running

    case = run_case(tmp_path, steps)
    assert case.sandbox.diary == ["0 start web", "0 SIGTERM web"]


def test_a_stop_between_two_runs_ends_the_pause(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        await asyncio.sleep(5)
        await case.process.stop()
        await running
        assert asyncio.get_running_loop().time() == pytest.approx(5)

    run_case(tmp_path, steps, behave={"web": ends(1)})


def test_a_hook_runs_before_the_signal_and_counts_as_grace(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        async def hook() -> None:
            case.sandbox.note("hook")
            await asyncio.sleep(4)

        case.role.hook = hook
        await asyncio.sleep(1)
        await case.process.stop(grace=10)
        await running

    case = run_case(tmp_path, steps, behave={"web": stubborn})
    assert case.sandbox.diary[1:] == ["1 hook", "5 SIGTERM web", "11 SIGKILL web"]


def test_a_hook_that_does_not_end_costs_its_process_the_signal(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        case.role.hook = lambda: asyncio.sleep(1000)
        await asyncio.sleep(1)
        await case.process.stop(grace=10)
        await running

    case = run_case(tmp_path, steps)
    assert case.sandbox.diary[1:] == ["11 SIGKILL web"]


def test_one_that_is_condemned_has_its_grace_and_starts_again(tmp_path: Path) -> None:
    async def steps(case: Case, _: asyncio.Task[None]) -> None:
        async def care(run: Run) -> None:
            await asyncio.sleep(20)
            await run.condemn("liveness probe failed: no answer")

        case.role.care = care
        await asyncio.sleep(51)
        assert case.process.ready, "it runs again"

    case = run_case(tmp_path, steps, behave={"web": stubborn})
    assert case.sandbox.diary[:4] == [
        "0 start web", "20 SIGTERM web", "50 SIGKILL web", "50.1 start web",
    ]  # fmt: skip
    assert case.process.last_exit == "liveness probe failed: no answer"


def test_one_that_was_condemned_did_not_do_its_work(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        async def care(run: Run) -> None:
            run.child.signal = lambda _: case.sandbox.child("web").end(0)  # type: ignore[method-assign]
            await run.condemn("startup probe failed: no answer")

        case.role.care = care
        await running

    case = run_case(tmp_path, steps, NEVER)
    assert case.process.final is not None
    assert not case.process.final.ok


def test_a_stop_of_one_that_is_condemned_asks_no_second_time(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        case.role.care = lambda run: run.condemn("no good")
        await asyncio.sleep(5)
        await case.process.stop(grace=10)
        await running

    case = run_case(tmp_path, steps, behave={"web": stubborn})
    assert case.sandbox.diary == ["0 start web", "0 SIGTERM web", "15 SIGKILL web"]
    assert case.process.restarts == 0


def test_nobody_asks_how_one_is_that_is_ending(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        async def care(run: Run) -> None:
            await asyncio.sleep(3)
            case.sandbox.note("asked")
            await run.condemn("liveness probe failed")

        case.role.care = care
        await asyncio.sleep(1)
        await case.process.stop(grace=10)
        await running

    case = run_case(tmp_path, steps, behave={"web": stubborn})
    assert case.sandbox.diary == ["0 start web", "1 SIGTERM web", "11 SIGKILL web"]
    assert case.lines == []


def test_a_cause_that_is_known_stands_for_the_status(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        case.role.explained = "out of memory (limit 64 MiB)"
        await running

    case = run_case(tmp_path, steps, NEVER, behave={"web": ends(-9)})
    assert case.process.problem == "web: out of memory (limit 64 MiB) (not restarted)"


def test_a_spec_that_is_wrong_is_tried_again(tmp_path: Path) -> None:
    async def steps(case: Case, _: asyncio.Task[None]) -> None:
        case.role.wrong = [ConfigError("there is no ConfigMap app")] * 2
        await asyncio.sleep(0.2)
        assert "web: restarting, 2nd time: there is no ConfigMap app" in case.problems
        await asyncio.sleep(1)
        assert case.process.ready

    for policy in RestartPolicy:
        case = run_case(tmp_path, steps, policy)
        assert starts(case) == pytest.approx([0.3])


def test_a_sandbox_that_has_gone_is_for_the_pod_to_know(tmp_path: Path) -> None:
    async def steps(case: Case, running: asyncio.Task[None]) -> None:
        case.sandbox.gone = True
        await asyncio.wait([running])
        with pytest.raises(ClusterError, match="has gone"):
            running.result()

    run_case(tmp_path, steps)


def test_nothing_is_told_twice(tmp_path: Path) -> None:
    async def steps(case: Case, _: asyncio.Task[None]) -> None:
        async def care(run: Run) -> None:
            for ready in (True, True, False, False):
                run.note_ready(ready, "" if ready else "readiness probe: status 503")
            run.note_waiting("readiness probe: status 503")

        case.role.care = care
        await asyncio.sleep(1)

    case = run_case(tmp_path, steps)
    assert case.problems == ["", "web: readiness probe: status 503"]
