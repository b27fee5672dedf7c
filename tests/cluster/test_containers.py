"""How a container is looked after, and what its failure means. Told by a clock that jumps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.containers import SidecarRole
from lapdev.cluster.output import Output
from lapdev.cluster.supervised import Supervised
from lapdev.net.tasks import Tasks
from tests.cluster.contract import sidecar
from tests.cluster.test_programs import options
from tests.support.one_pod import sh
from tests.support.standin_crew import Stage, on_stage
from tests.support.standin_sandbox import StandInChild, StandInSandbox, ends, stubborn
from tests.support.virtual_time import run_virtual


def ask(period: int = 5, **more: Any) -> dict[str, Any]:
    return {"exec": {"command": ["asked"]}, "periodSeconds": period, **more}


def yes_when(condition: Callable[[float], bool]) -> Callable[[StandInChild], None]:
    """The probe's command succeeds at these times."""

    def behave(child: StandInChild) -> None:
        good = condition(asyncio.get_running_loop().time())
        if not good:
            child.say("not now\n")
        child.end(0 if good else 1)

    return behave


def readiness(
    folder: Path, container: dict[str, Any], seconds: float, **sandbox: Any
) -> tuple[list[tuple[float, bool]], list[str]]:
    """When the container became ready and not ready; and the diary without its probes."""
    changes: list[tuple[float, bool]] = []

    async def steps(stage: Stage) -> None:
        process = stage.process(container["name"])

        def changed() -> None:
            if process.ready is not (changes[-1][1] if changes else False):
                changes.append((round(asyncio.get_running_loop().time(), 1), process.ready))

        process._on_change = changed
        await asyncio.sleep(seconds)
        process._on_change = lambda: None

    diary = on_stage(folder, {"containers": [container]}, steps, **sandbox)
    return changes, [line for line in diary if "asked" not in line]


# Started, ready, alive


def test_without_ports_and_probes_it_is_ready_when_it_has_run_a_moment(tmp_path: Path) -> None:
    changes, _ = readiness(tmp_path, sh("web", "x"), 5)
    assert changes == [(0.5, True)]
    changes, _ = readiness(tmp_path, sh("web", "x"), 5, behave={"web": ends(1)})
    assert changes == [], "it never ran that long"


def test_without_a_probe_it_is_ready_when_its_ports_listen(tmp_path: Path) -> None:
    ports = [{"containerPort": port, "protocol": kind} for port, kind in ((80, "TCP"), (53, "UDP"))]

    async def steps(stage: Stage) -> None:
        stage.sandbox.listening = {81}
        await asyncio.sleep(9)
        assert stage.process("web").problem == ""
        await asyncio.sleep(2)
        assert stage.process("web").problem == "web: does not listen on port 80 yet"
        stage.sandbox.listening = {80, 81}
        await asyncio.sleep(1)
        assert stage.process("web").ready
        assert stage.process("web").problem == ""
        stage.sandbox.listening = set()
        await asyncio.sleep(100)
        assert stage.process("web").ready, "nobody asks any more"

    on_stage(tmp_path, {"containers": [sh("web", "x", ports=ports)]}, steps)


def test_a_readiness_probe_is_asked_as_long_as_it_runs(tmp_path: Path) -> None:
    container = sh("web", "x", readinessProbe=ask(failureThreshold=2))
    behave = {"asked": yes_when(lambda now: 3 <= now < 20 or now > 40)}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(30)
        assert stage.process("web").problem == "web: readiness probe: exit code 1: not now"

    on_stage(tmp_path, {"containers": [container]}, steps, behave=behave)
    changes, diary = readiness(tmp_path, container, 60, behave=behave)
    assert [ready for _, ready in changes] == [True, False, True]
    assert 3 <= changes[0][0] <= 4
    assert 25 <= changes[1][0] <= 30
    assert 40 <= changes[2][0] <= 45
    assert diary == ["0 start web"], "not being ready is no reason to restart"


def test_a_probe_runs_beside_its_container(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        pid = stage.sandbox.child("web").pid
        assert stage.sandbox.diary[1] == f"0 start asked beside {pid}"
        assert stage.sandbox.child("asked").program.container == "web"

    container = sh("web", "x", readinessProbe=ask())
    on_stage(tmp_path, {"containers": [container]}, steps, behave={"asked": ends(0)})


def test_nobody_asks_for_readiness_or_life_before_it_has_started(tmp_path: Path) -> None:
    container = sh(
        "web",
        "x",
        startupProbe={"tcpSocket": {"port": 1}, "periodSeconds": 10, "failureThreshold": 3},
        livenessProbe=ask(failureThreshold=1),
        readinessProbe=ask(failureThreshold=1),
    )
    changes, diary = readiness(tmp_path, container, 21, behave={"asked": ends(1)})
    assert changes == []
    assert diary == ["0 start web", "20 SIGTERM web", "20.1 start web"]


def test_a_failed_startup_probe_is_a_failed_run(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(12)
        process = stage.process("web")
        assert process.last_exit == "startup probe failed: exit code 1: not now"
        assert process.restarts == 1

    container = sh("web", "x", startupProbe=ask(failureThreshold=3))
    behave = {"asked": yes_when(lambda now: now > 15)}
    on_stage(tmp_path, {"containers": [container]}, steps, behave=behave)


def test_a_dead_container_has_its_grace_and_starts_again(tmp_path: Path) -> None:
    container = sh("web", "x", livenessProbe=ask(10, failureThreshold=2, initialDelaySeconds=5))
    behave = {"asked": yes_when(lambda now: now < 20), "web": stubborn}
    changes, diary = readiness(tmp_path, container, 67, behave=behave)
    # noes at 25 and 35; the grace is 30 seconds
    assert diary == ["0 start web", "35 SIGTERM web", "65 SIGKILL web", "65.1 start web"]
    assert changes == [(0.5, True), (35.0, False), (65.6, True)]


def test_an_initial_delay_counts_from_the_start_of_the_run(tmp_path: Path) -> None:
    container = sh(
        "web",
        "x",
        startupProbe=ask(1, failureThreshold=60),
        livenessProbe={"tcpSocket": {"port": 1}, "initialDelaySeconds": 20, "failureThreshold": 1},
    )
    behave = {"asked": yes_when(lambda now: now >= 15)}
    _, diary = readiness(tmp_path, container, 20.05, behave=behave)
    assert diary == ["0 start web", "20 SIGTERM web"]


def test_a_probe_that_hangs_is_ended_and_counts(tmp_path: Path) -> None:
    container = sh("web", "x", livenessProbe=ask(10, failureThreshold=2, timeoutSeconds=3))

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(21)
        assert stage.process("web").last_exit == "liveness probe failed: asked: no answer in 3 s"

    diary = on_stage(tmp_path, {"containers": [container]}, steps)
    # Three seconds, and two to get there.
    assert [line for line in diary if "beside" not in line] == [
        "0 start web", "5 SIGKILL asked", "20 SIGKILL asked", "20 SIGTERM web", "20.1 start web",
    ]  # fmt: skip


def test_a_probe_ends_with_its_container(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.sandbox.child("web").end(1)
        await asyncio.sleep(0.05)
        assert not stage.sandbox.child("asked").running

    on_stage(tmp_path, {"containers": [sh("web", "x", readinessProbe=ask())]}, steps)


# Hooks


def hook(**kind: Any) -> dict[str, Any]:
    return {"lifecycle": kind}


HOOK = {"exec": {"command": ["hook"]}}


def test_nothing_else_of_a_container_begins_before_its_first_hook(tmp_path: Path) -> None:
    def behave(child: StandInChild) -> None:
        asyncio.get_running_loop().call_later(4, child.end, 0)

    changes, _ = readiness(tmp_path, sh("web", "x", **hook(postStart=HOOK)), 9,
                           behave={"hook": behave})  # fmt: skip
    assert changes == [(4.5, True)]


def test_a_first_hook_that_takes_long_is_told(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(11)
        assert stage.process("web").problem == "web: its postStart hook still runs"
        stage.sandbox.child("hook").end(0)
        await asyncio.sleep(1)
        assert stage.process("web").ready

    on_stage(tmp_path, {"containers": [sh("web", "x", **hook(postStart=HOOK))]}, steps)


def test_a_failed_first_hook_is_a_failed_run(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(0.05)
        assert stage.process("web").last_exit == "postStart hook failed: exit code 2: no license"

    behave = {"hook": ends(2, "no license")}
    spec = {"containers": [sh("web", "x", **hook(postStart=HOOK))]}
    diary = on_stage(tmp_path, spec, steps, behave=behave)
    assert diary[1:] == ["0 start hook beside 101", "0 SIGTERM web"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [({"sleep": {"seconds": 3}}, 4), (HOOK, 1), ({"tcpSocket": {"port": 1}}, 1)],
)
def test_a_last_hook_runs_before_the_container_is_told(
    tmp_path: Path, kind: dict[str, Any], told: int
) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        await stage.crew.wind_down()

    behave = {"hook": ends(1, "no wish")}
    container = sh("web", "x", **hook(preStop=kind))
    diary = on_stage(tmp_path, {"containers": [container]}, steps, behave=behave)
    assert diary[-1] == f"{told} SIGTERM web"


def test_that_a_last_hook_failed_is_said_among_what_the_container_prints(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        await stage.crew.wind_down()
        lines = [text for _, text in stage.process("web").output.last(5)]
        assert lines == ["lapdev: preStop hook failed: exit code 1: no wish"]

    container = sh("web", "x", **hook(preStop=HOOK))
    behave = {"hook": ends(1, "no wish")}
    on_stage(tmp_path, {"containers": [container]}, steps, behave=behave)


# What a failure means


def failure(folder: Path, container: dict[str, Any], prepare: Callable[[Stage], None]) -> str:
    """How the container's end reads: it is ended by SIGKILL after a second."""
    found: list[str] = []

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        prepare(stage)
        await asyncio.sleep(0)
        found.append(stage.process(container["name"]).last_exit or "nothing")
        await asyncio.sleep(0.01)
        found.append(stage.process(container["name"]).last_exit)

    on_stage(folder, {"containers": [container]}, steps)
    return found[-1]


def test_want_of_memory_is_named_with_the_limit(tmp_path: Path) -> None:
    def kill(stage: Stage) -> None:
        stage.sandbox.kills["web"] = 1
        stage.sandbox.child("web").end(-9)

    limited = sh("web", "x", resources={"limits": {"memory": "64Mi"}})
    assert failure(tmp_path, limited, kill) == "out of memory (limit 64 MiB)"
    assert failure(tmp_path, sh("web", "x"), kill) == "out of memory"


def test_want_of_memory_in_an_earlier_run_is_not_this_ones(tmp_path: Path) -> None:
    def end(stage: Stage) -> None:
        stage.sandbox.child("web").end(-9)

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.sandbox.kills["web"] = 1
        end(stage)
        await asyncio.sleep(1)
        end(stage)
        await asyncio.sleep(0.01)
        assert stage.process("web").last_exit == "ended by SIGKILL"

    on_stage(tmp_path, {"containers": [sh("web", "x")]}, steps)


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    def clash(stage: Stage) -> None:
        stage.held = {"container web": frozenset({8080})}
        stage.sandbox.child("worker").say("OSError: [Errno 98] Address already in use\n")
        stage.sandbox.child("worker").end(1)

    said = failure(tmp_path, sh("worker", "x"), clash)
    assert (
        said == "port 8080 is taken by container web of the same pod (containers share localhost)"
    )


def test_a_port_that_something_else_of_the_machine_has_is_named_with_it(tmp_path: Path) -> None:
    def clash(stage: Stage) -> None:
        stage.sandbox.strange = {"container api of pod api-x": frozenset({8080})}
        stage.sandbox.child("worker").say("listen EADDRINUSE: address already in use :::8080\n")
        stage.sandbox.child("worker").end(1)

    said = failure(tmp_path, sh("worker", "x"), clash)
    assert said.startswith("port 8080 is taken by container api of pod api-x (without isolation")


@pytest.mark.parametrize(("holder", "begins"), [(0, "it may not listen on port 80:"), (7, "exit")])
def test_a_low_port_is_for_pods_with_a_network_of_their_own(
    tmp_path: Path, holder: int, begins: str
) -> None:
    def refuse(stage: Stage) -> None:
        stage.sandbox.holder_pid = holder
        stage.sandbox.child("worker").say("PermissionError: [Errno 13] Permission denied\n")
        stage.sandbox.child("worker").end(1)

    worker = sh("worker", "x", ports=[{"containerPort": 80}])
    assert failure(tmp_path, worker, refuse).startswith(begins)


def test_what_only_speaks_of_ports_and_ends_well_took_none(tmp_path: Path) -> None:
    def end(stage: Stage) -> None:
        stage.held = {"container web": frozenset({8080})}
        stage.sandbox.child("worker").say("Address already in use, trying another\n")
        stage.sandbox.child("worker").end(0)

    assert failure(tmp_path, sh("worker", "x"), end) == "exit code 0"


# The sidecar


def test_a_sidecar_is_ready_when_it_listens_and_hands_back_each_token(tmp_path: Path) -> None:
    revoked: list[float] = []

    async def main() -> None:
        sandbox = StandInSandbox()
        output = Output(tmp_path / "sidecar.log")
        plan = sidecar("web")
        given = options()

        def launch() -> Any:
            from lapdev.cluster.programs import sidecar_launch

            return sidecar_launch(plan, sandbox.place, given, lambda _: "token")

        def revoke() -> None:
            revoked.append(round(asyncio.get_running_loop().time(), 2))

        held = {"container web": frozenset({15001})}
        role = SidecarRole(plan, given, launch, revoke, lambda _sandbox, _but: held)
        process = Supervised(role, output, lambda: None)
        async with Tasks() as tasks:
            tasks.spawn(process.run(sandbox), "run")
            await asyncio.sleep(1)
            assert not process.ready
            (name,) = sandbox.children
            child = sandbox.child(name)
            child.say("error: address already in use\n")
            child.end(1)
            await asyncio.sleep(1)
            assert "port 15001 is taken by container web" in process.problem
            sandbox.listening = {15001}
            await asyncio.sleep(1)
            assert process.ready
            assert sandbox.child(name) is not child
            assert sandbox.child(name).program.argv[-2] == "--launch-fd"
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(int(child.program.argv[-1]))
            await process.stop(2)
        output.close()

    run_virtual(main)
    assert revoked == [1.0, 3.0]
