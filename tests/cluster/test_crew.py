"""The order in which a pod's containers start, change and end."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from lapdev.errors import ClusterError, ConfigError
from tests.support.one_pod import sh
from tests.support.standin_crew import Stage, on_stage
from tests.support.standin_sandbox import StandInChild, ends, stubborn


def lasts(seconds: float, status: int = 0) -> Any:
    def behave(child: StandInChild) -> None:
        asyncio.get_running_loop().call_later(seconds, child.end, status)

    return behave


def seconds(number: float) -> Any:
    async def steps(_: Stage) -> None:
        await asyncio.sleep(number)

    return steps


PROBE = {"exec": {"command": ["asked"]}, "periodSeconds": 1}


def native(name: str, script: str = "x", **more: Any) -> dict[str, Any]:
    return sh(name, script, restartPolicy="Always", **more)


def test_init_containers_run_one_after_the_other_and_then_all_others(tmp_path: Path) -> None:
    spec = {
        "initContainers": [sh("one", "x"), sh("two", "x")],
        "containers": [sh("web", "x"), sh("job", "x")],
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(4)
        assert not stage.crew.complete
        await asyncio.sleep(2)
        assert stage.crew.complete
        assert stage.prepared == 1

    diary = on_stage(tmp_path, spec, steps, behave={"one": lasts(3), "two": lasts(2)})
    assert diary == ["0 start one", "3 start two", "5 start web", "5 start job"]


def test_an_init_container_that_fails_is_tried_again(tmp_path: Path) -> None:
    spec = {"initContainers": [sh("one", "x")], "containers": [sh("web", "x")]}
    tries = iter([1, 1, 0])

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(2)
        assert stage.process("one").restarts == 2

    behave = {"one": lambda child: child.end(next(tries))}
    diary = on_stage(tmp_path, spec, steps, behave=behave)
    assert diary == ["0 start one", "0.1 start one", "0.3 start one", "0.3 start web"]


def test_where_nothing_is_restarted_a_failed_init_container_is_the_end(tmp_path: Path) -> None:
    spec = {
        "initContainers": [sh("one", "x")],
        "containers": [sh("web", "x")],
        "restartPolicy": "Never",
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        assert stage.outcome is False

    assert on_stage(tmp_path, spec, steps, behave={"one": ends(1)}) == ["0 start one"]


def test_a_native_sidecar_comes_before_what_is_after_it_and_stays(tmp_path: Path) -> None:
    spec = {
        "initContainers": [native("db"), sh("migrate", "x")],
        "containers": [sh("web", "x")],
    }
    diary = on_stage(tmp_path, spec, seconds(10), behave={"migrate": lasts(2)})
    assert diary == ["0 start db", "0 start migrate", "2 start web"]


def test_what_comes_after_a_native_sidecar_waits_for_its_startup_probe(tmp_path: Path) -> None:
    spec = {
        "initContainers": [native("db", startupProbe=PROBE | {"failureThreshold": 60})],
        "containers": [sh("web", "x")],
    }

    def asked(child: StandInChild) -> None:
        child.end(0 if asyncio.get_running_loop().time() >= 20 else 1)

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(15)
        assert stage.crew.waits_for == "waits for db, which comes before others"
        assert stage.process("db").problem == "db: startup probe: exit code 1"
        await asyncio.sleep(10)
        assert not stage.crew.waits_for

    diary = on_stage(tmp_path, spec, steps, behave={"asked": asked})
    assert diary[0] == "0 start db"
    (web,) = [line for line in diary if line.endswith("start web")]
    assert 20 <= float(web.split()[0]) <= 21


def test_a_pod_whose_containers_all_did_their_work_is_done(tmp_path: Path) -> None:
    spec = {
        "initContainers": [native("proxy")],
        "containers": [sh("one", "x"), sh("two", "x")],
        "restartPolicy": "OnFailure",
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(3)
        assert stage.outcome is None
        await asyncio.sleep(3)
        assert stage.outcome is True
        assert stage.process("one").final is not None

    on_stage(tmp_path, spec, steps, behave={"one": lasts(2), "two": lasts(5)})


def test_one_container_that_failed_for_good_makes_a_failed_pod(tmp_path: Path) -> None:
    spec = {"containers": [sh("one", "x"), sh("two", "x")], "restartPolicy": "Never"}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(3)
        assert stage.outcome is None, "the other still works"
        await asyncio.sleep(3)
        assert stage.outcome is False

    on_stage(tmp_path, spec, steps, behave={"one": ends(1), "two": lasts(5)})


def test_sidecars_end_last_and_the_last_first(tmp_path: Path) -> None:
    spec = {
        "initContainers": [native("db"), native("proxy")],
        "containers": [sh("web", "x"), sh("job", "x")],
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        winding = stage.crew.wind_down()
        asyncio.get_running_loop().call_later(3, stage.sandbox.child("job").end, 0)
        await winding

    diary = on_stage(tmp_path, spec, steps, behave={"job": stubborn})
    assert diary[4:] == ["1 SIGTERM web", "1 SIGTERM job", "4 SIGTERM proxy", "4 SIGTERM db"]


def test_what_takes_longer_than_its_grace_is_cut_short_sidecars_after_a_moment(
    tmp_path: Path,
) -> None:
    spec = {"initContainers": [native("db")], "containers": [sh("web", "x")]}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await stage.crew.wind_down()
        await stage.crew.cut_short(2)

    diary = on_stage(tmp_path, spec, steps, behave={"web": stubborn, "db": stubborn})
    assert diary[2:] == ["1 SIGTERM web", "6 SIGKILL web", "6 SIGTERM db", "8 SIGKILL db"]


def test_a_changed_container_starts_again_and_no_other(tmp_path: Path) -> None:
    spec = {
        "initContainers": [sh("migrate", "x"), native("db")],
        "containers": [sh("web", "x"), sh("job", "x")],
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        assert stage.process("web").ready
        stage.update(containers=[sh("web", "y"), sh("job", "x")])
        assert not stage.crew.complete
        await asyncio.sleep(1)
        assert stage.crew.complete
        assert stage.prepared == 2

    diary = on_stage(tmp_path, spec, steps, behave={"migrate": ends(0)})
    assert diary[4:] == ["1 SIGTERM web", "1 start web"]


def test_removed_containers_end_and_new_ones_start_in_their_turn(tmp_path: Path) -> None:
    spec = {"initContainers": [native("db")], "containers": [sh("web", "x"), sh("job", "x")]}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.update(
            initContainers=[native("cache"), sh("seed", "x")],
            containers=[sh("web", "x"), sh("more", "x")],
        )
        await asyncio.sleep(9)

    diary = on_stage(tmp_path, spec, steps, behave={"seed": lasts(3), "db": lasts(9)})
    assert diary[3:] == [
        "1 SIGTERM job", "1 SIGTERM db", "1 start cache", "1 start seed", "4 start more",
    ]  # fmt: skip


def test_a_changed_init_container_runs_before_what_changed_after_it(tmp_path: Path) -> None:
    spec = {
        "initContainers": [sh("migrate", "x")],
        "containers": [sh("web", "x"), sh("job", "x")],
    }

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.update(
            initContainers=[sh("migrate", "y")], containers=[sh("web", "y"), sh("job", "x")]
        )
        await asyncio.sleep(5)

    diary = on_stage(tmp_path, spec, steps, behave={"migrate": lasts(2)})
    assert diary[3:] == ["3 SIGTERM web", "3 start migrate", "5 start web"]


def test_a_change_during_the_start_begins_where_the_old_one_was(tmp_path: Path) -> None:
    spec = {"initContainers": [sh("one", "x"), sh("two", "x")], "containers": [sh("web", "x")]}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.update(initContainers=[sh("one", "x"), sh("two", "y")])
        await asyncio.sleep(5)

    diary = on_stage(tmp_path, spec, steps, behave={"one": lasts(2), "two": lasts(2)})
    assert diary == [
        "0 start one", "2 start two", "3 SIGTERM two", "3 start two", "5 start web",
    ]  # fmt: skip


def test_two_changes_at_once_are_one(tmp_path: Path) -> None:
    spec = {"containers": [sh("web", "x")]}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.update(containers=[sh("web", "y")])
        await asyncio.sleep(10)  # the first is stubborn: still waited for
        stage.update(containers=[sh("web", "z")])
        await asyncio.sleep(50)
        assert stage.crew.complete

    diary = on_stage(tmp_path, spec, steps, behave={"web": stubborn})
    assert diary == ["0 start web", "1 SIGTERM web", "41 SIGKILL web", "41 start web"]


def test_a_container_that_is_added_after_all_others_were_done_is_started(tmp_path: Path) -> None:
    spec = {"containers": [sh("web", "x"), sh("job", "x")], "restartPolicy": "Never"}

    async def steps(stage: Stage) -> None:
        await asyncio.sleep(3)
        stage.update(containers=[sh("web", "x"), sh("job", "x"), sh("more", "x")])
        await asyncio.sleep(8)
        assert stage.outcome is None
        stage.sandbox.child("more").end(0)
        await asyncio.sleep(1)
        assert stage.outcome is True

    diary = on_stage(tmp_path, spec, steps, behave={"web": ends(0), "job": lasts(5)})
    assert diary == ["0 start web", "0 start job", "3 start more"]


def test_a_sandbox_that_has_gone_ends_the_work(tmp_path: Path) -> None:
    async def steps(stage: Stage) -> None:
        await asyncio.sleep(1)
        stage.sandbox.gone = True
        stage.sandbox.child("web").end(1)
        await asyncio.sleep(1)
        assert isinstance(stage.failure, ClusterError)

    on_stage(tmp_path, {"containers": [sh("web", "x")]}, steps)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (ClusterError("volume data cannot be made"), "volume data cannot be made"),
        (ConfigError("there is no ConfigMap app"), "there is no ConfigMap app"),
        (OSError(28, "No space left on device"),
         "cannot keep the pod's files: No space left on device"),
    ],
)  # fmt: skip
def test_a_volume_that_cannot_be_made_ends_the_work(
    tmp_path: Path, wrong: Exception, why: str
) -> None:
    async def refuse() -> None:
        raise wrong

    async def steps(stage: Stage) -> None:
        stage.crew._prepare = refuse
        await asyncio.sleep(1)
        assert str(stage.failure) == why

    assert on_stage(tmp_path, {"containers": [sh("web", "x")]}, steps) == []


NAMES = ("a", "b", "c", "d", "e")


def random_spec(dice: random.Random) -> dict[str, Any]:
    """Some of the containers, each in one of three parts, with one of two scripts."""
    chosen = dice.sample(NAMES, dice.randint(1, len(NAMES)))
    parts: dict[str, list[dict[str, Any]]] = {"initContainers": [], "containers": []}
    for index, name in enumerate(chosen):
        script = dice.choice(("x", "y"))
        if index == 0 or dice.random() < 0.4:
            parts["containers"].append(sh(name, script))
        elif dice.random() < 0.5:
            parts["initContainers"].append(sh(name, script))
        else:
            parts["initContainers"].append(native(name, script))
    return parts


@pytest.mark.parametrize("seed", range(12))
def test_any_changes_and_deaths_lead_to_what_was_asked_for_last(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)

    def behave(child: StandInChild) -> None:
        child.stubborn = dice.random() < 0.2
        if dice.random() < 0.3:
            later = dice.expovariate(1)
            asyncio.get_running_loop().call_later(later, child.end, dice.randint(0, 1))

    async def steps(stage: Stage) -> None:
        for _ in range(20):
            await asyncio.sleep(dice.choice((0, 0.01, 0.3, 2, 40)))
            if dice.random() < 0.5:
                stage.update(**random_spec(dice))
            else:
                alive = [c for each in stage.sandbox.children.values() for c in each if c.running]
                for child in dice.sample(alive, min(1, len(alive))):
                    child.end(-9)
        wanted_last = random_spec(dice)
        stage.sandbox.behave = {
            container["name"]: ends(0)
            for container in wanted_last["initContainers"]
            if "restartPolicy" not in container
        }
        stage.update(**wanted_last)
        await asyncio.sleep(200)
        # What began before the behaviour changed may still wait for its end.
        for name in stage.sandbox.behave:
            for child in stage.sandbox.children.get(name, []):
                child.end(0)
        await asyncio.sleep(200)
        assert stage.crew.complete
        running = {
            name: sum(child.running for child in children)
            for name, children in stage.sandbox.children.items()
            if any(child.running for child in children)
        }
        kept = {m.process.name: 1 for m in stage.lineup if m.part != "init"}
        assert running == kept
        assert all(stage.process(name).ready for name in kept)

    on_stage(tmp_path, random_spec(dice), steps, behave=dict.fromkeys(NAMES, behave))
