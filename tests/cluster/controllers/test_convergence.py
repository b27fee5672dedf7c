"""Whatever happens to pods and wishes on the way, controllers arrive, and break no promise."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.cluster.controllers import Outcome
from lapdev.cluster.manifests import Strategy
from tests.cluster.controllers.scenes import Scene, cron, deployment, job, stateful

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["step", "ready", "unready", "end", "digest", "scale", "wait"]),
        st.integers(0, 5),
    ),
    max_size=40,
)
OUTCOMES = [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.NONE]


def happen(scene: Scene, event: str, number: int) -> None:
    names = scene.live()
    name = names[number % len(names)] if names else ""
    match event:
        case "step":
            scene.step()
        case "wait":
            scene.seconds += number * 40
        case "digest":
            scene.want(digest=f"d{number}")
        case "scale" if scene.wanted.facts.job is None:
            scene.want(replicas=number)
        case "ready" | "unready" if name and not scene.pods[name].stopping:
            scene.pods[name].ready = event == "ready"
        case "end" if name:
            if scene.pods[name].stopping or scene.wanted.facts.job is None:
                scene.end(name)
            else:
                scene.end(name, OUTCOMES[number % 3], "web: exit code 1")


def arrive(scene: Scene) -> None:
    """From here on all goes well."""
    for _ in range(60):
        scene.settle()
        for pod in scene.pods.values():
            pod.ready = not pod.ended


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*Strategy]), EVENTS)
def test_deployments_arrive(strategy: Strategy, events: list[tuple[str, int]]) -> None:
    scene = Scene(deployment("d0", 2, strategy))
    for event, number in events:
        happen(scene, event, number)
        if strategy is Strategy.RECREATE:
            assert len({pod.digest for pod in scene.pods.values()}) <= 2
        assert len([p for p in scene.pods.values() if not p.stopping]) <= 6
    arrive(scene)
    assert {pod.digest for pod in scene.pods.values()} <= {scene.wanted.digest}
    status = scene.status
    assert status.ready == status.wanted == len(scene.pods) == scene.wanted.facts.replicas
    assert status.detail == ""


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.booleans(), EVENTS)
def test_stateful_sets_arrive_and_no_ordinal_is_there_twice(
    ordered: bool, events: list[tuple[str, int]]
) -> None:
    scene = Scene(stateful("d0", 3, ordered=ordered))  # a Scene fails where a name is taken
    for event, number in events:
        happen(scene, event, number)
    arrive(scene)
    assert {pod.ordinal for pod in scene.pods.values()} == {*range(scene.wanted.facts.replicas)}
    assert {pod.digest for pod in scene.pods.values()} <= {scene.wanted.digest}
    assert scene.status.detail == ""


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.integers(1, 4), st.integers(1, 3), EVENTS)
def test_jobs_are_done_or_have_failed(
    indexed: bool, completions: int, parallelism: int, events: list[tuple[str, int]]
) -> None:
    scene = Scene(job("d0", completions=completions, parallelism=parallelism, indexed=indexed))
    for event, number in events:
        happen(scene, event, number)
        # Beyond what ends, no more run at a time than asked for.
        assert (
            len([p for p in scene.pods.values() if not p.stopping and not p.ended]) <= parallelism
        )
    for _ in range(completions + 2):
        scene.settle()
        for name in scene.live():
            scene.end(name, Outcome.SUCCEEDED)
        scene.seconds += 100
    scene.settle()
    status = scene.status
    assert bool(status.failed) != (status.ready == completions)
    assert scene.live() == []
    assert status.detail == ""


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["Allow", "Forbid", "Replace"]), EVENTS)
def test_cron_jobs_keep_their_policy_and_their_history(
    policy: str, events: list[tuple[str, int]]
) -> None:
    scene = Scene(cron("* * * * *", concurrency=policy))
    for event, number in events:
        happen(scene, event, number)
        scene.step()
        going = [p for p in scene.pods.values() if not p.ended and not p.stopping]
        assert policy == "Allow" or len(going) <= 1
    for _ in range(3):
        scene.settle()
        for name in scene.live():
            scene.end(name, Outcome.SUCCEEDED)
    assert scene.wanted.facts.schedule
    paused = dataclasses.replace(scene.wanted.facts.schedule, suspended=True)
    scene.want(schedule=paused)
    scene.settle()
    assert len({pod.run for pod in scene.pods.values()}) <= 4
    assert scene.live() == []
