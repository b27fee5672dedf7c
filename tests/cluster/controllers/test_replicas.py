"""Deployments that roll, recreate or change in place; pods that are alone of their kind."""

from __future__ import annotations

import pytest

from lapdev.cluster.controllers import Outcome, Start
from lapdev.cluster.manifests import Strategy, WorkloadKind
from tests.cluster.controllers.scenes import Scene, deployment, wanted


def test_a_rolling_change_never_serves_with_fewer() -> None:
    scene = Scene(deployment("o", replicas=2))
    scene.settle()
    scene.make_ready()
    scene.want(digest="n")
    for _ in range(10):
        scene.step()
        assert sum(pod.useful for pod in scene.pods.values()) >= 2
        for name in [name for name, pod in scene.pods.items() if pod.stopping]:
            scene.end(name)
        scene.make_ready()
    assert {pod.digest for pod in scene.pods.values()} == {"n"}
    assert len(scene.pods) == 2


@pytest.mark.parametrize("kind", [WorkloadKind.DAEMON_SET, WorkloadKind.POD])
def test_what_is_alone_ends_before_its_successor_starts(kind: WorkloadKind) -> None:
    scene = Scene(wanted(kind, "o"))
    scene.settle()
    scene.make_ready()
    (old,) = scene.pods
    scene.want(digest="n")
    assert scene.step().start == ()
    assert scene.last.detail == f"waiting for {old} to end"
    assert scene.step().start == ()
    scene.end(old)
    assert scene.step().start == (Start(),)
    assert [pod.digest for pod in scene.pods.values()] == ["n"]


def test_recreating_waits_for_every_old_pod() -> None:
    scene = Scene(deployment("o", 3, Strategy.RECREATE))
    scene.settle()
    scene.make_ready()
    old = scene.live()
    scene.want(digest="n")
    assert set(scene.step().stop) == set(old)
    for name in old[:2]:
        scene.end(name)
        assert scene.step().start == ()
    scene.end(old[2])
    assert len(scene.step().start) == 3


def test_going_back_while_the_old_pod_ends_waits_for_it() -> None:
    scene = Scene(deployment("a", 1, Strategy.RECREATE))
    scene.settle()
    (pod,) = scene.live()
    scene.want(digest="b")
    scene.step()
    scene.want(digest="a")
    assert scene.step().start == ()
    scene.end(pod)
    assert len(scene.step().start) == 1


def test_scaling_goes_around_the_pods_that_serve() -> None:
    scene = Scene(deployment("n", 3, Strategy.RECREATE))
    scene.settle()
    first, second, third = scene.live()
    scene.make_ready(second)
    scene.want(replicas=1)
    assert set(scene.step().stop) == {first, third}
    assert scene.last.detail == ""


def test_in_place_the_pod_stays_and_only_what_cannot_is_replaced() -> None:
    scene = Scene(deployment("o", 2, Strategy.IN_PLACE))
    scene.settle()
    able, unable = scene.live()
    scene.pods[able].updatable = True
    scene.want(digest="n")
    step = scene.step()
    assert (step.update, step.stop, step.start) == ((able,), (unable,), ())
    scene.end(unable)
    assert scene.step().start == (Start(),)
    assert scene.pods[able].digest == "n"


def test_a_pod_that_has_done_its_work_is_ready_and_stays() -> None:
    scene = Scene(wanted(WorkloadKind.POD, "a"))
    scene.settle()
    scene.end("w", Outcome.SUCCEEDED)
    step = scene.settle()
    assert (step.start, step.stop) == ((), ())
    assert (scene.status.ready, scene.status.wanted, scene.status.succeeded) == (1, 1, 1)
    scene.want(digest="b")
    scene.settle()
    assert scene.text == "w-"


def test_a_pod_that_failed_stays_failed_and_says_why() -> None:
    scene = Scene(wanted(WorkloadKind.POD, "a"))
    scene.settle()
    scene.end("w", Outcome.FAILED, "web: exit code 3")
    scene.settle()
    assert scene.text == "w=Failed"
    assert scene.status.failed == "w failed: web: exit code 3"
    assert scene.status.last_exit == "web: exit code 3"


def test_the_status_tells_why_a_pod_is_not_ready() -> None:
    scene = Scene(deployment("n", 2))
    scene.settle()
    first, second = scene.live()
    scene.make_ready(first)
    scene.pods[second].why = "web ended with status 1"
    scene.pods[second].restarts = 4
    status = scene.status
    assert (status.ready, status.restarts) == (1, 4)
    assert status.detail == "web ended with status 1"
    assert status.kind == "Deployment"
