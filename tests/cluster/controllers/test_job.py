"""Jobs: how often, how many at once, when they are done, and when they have failed."""

from __future__ import annotations

import dataclasses

import pytest

from lapdev.cluster.controllers import DoneJob, JobController, Outcome, Seen, Start
from lapdev.cluster.controllers.job import KEPT_PODS, LONGEST_RETRY
from lapdev.cluster.manifests import RestartPolicy
from tests.cluster.controllers.scenes import Scene, job


def run_all(scene: Scene, outcome: Outcome, said: str = "") -> None:
    """All pods that run end that way."""
    for name in scene.live():
        scene.end(name, outcome, said)


def test_a_job_that_is_done_is_not_run_again() -> None:
    scene = Scene(job())
    scene.settle()
    assert scene.status.detail == "run 1 of 1 is running"
    run_all(scene, Outcome.SUCCEEDED)
    assert scene.settle().start == ()
    status = scene.status
    assert (status.wanted, status.ready, status.succeeded, status.detail) == (1, 1, 1, "")
    assert len(scene.pods) == 1  # what it printed can be read


@pytest.mark.parametrize("indexed", [False, True])
def test_what_another_process_has_done_is_not_done_again(indexed: bool) -> None:
    def controller(scene: Scene) -> JobController:
        assert isinstance(scene.controller, JobController)
        return scene.controller

    first = Scene(job(completions=2, parallelism=2, indexed=indexed))
    first.settle()
    assert controller(first).done is None
    run_all(first, Outcome.SUCCEEDED)
    first.settle()
    done = controller(first).done
    assert done == DoneJob("n", 2, (0, 1) if indexed else ())
    second = Scene(job(completions=2, parallelism=2, indexed=indexed))
    controller(second).resume(done)
    assert second.status.ready == 2
    second.settle()
    assert (second.live(), second.status.succeeded) == ([], 2)
    assert controller(second).done == done
    second.want(digest="other")
    second.settle()
    assert len(second.live()) == 2
    assert controller(second).done is None
    more = Scene(job(completions=3, indexed=indexed))
    controller(more).resume(done)
    more.settle()
    assert len(more.live()) == 1


def test_another_template_is_another_run() -> None:
    scene = Scene(job("a"))
    scene.settle()
    run_all(scene, Outcome.SUCCEEDED)
    scene.settle()
    scene.want(digest="b")
    assert scene.status.ready == 0
    scene.settle()
    assert [pod.digest for pod in scene.pods.values()] == ["b"]
    scene.want(digest="c")
    (running,) = scene.live()
    assert scene.step().start == ()
    assert scene.last.detail == f"waiting for {running} to end"
    scene.end(running)
    scene.settle()
    assert [pod.digest for pod in scene.pods.values()] == ["c"]


def test_completions_and_parallelism() -> None:
    scene = Scene(job(completions=5, parallelism=2))
    most = 0
    for done in range(5):
        scene.settle()
        most = max(most, len(scene.live()))
        assert scene.status.detail == f"run {done + 1} of 5 is running"
        scene.end(scene.live()[0], Outcome.SUCCEEDED, "web: exit code 0")
    scene.settle()
    assert most == 2
    assert (scene.status.ready, scene.live()) == (5, [])


def test_fewer_at_a_time_ends_the_surplus() -> None:
    scene = Scene(job(completions=4, parallelism=4))
    scene.settle()
    assert scene.wanted.facts.job
    scene.want(job=dataclasses.replace(scene.wanted.facts.job, parallelism=1))
    scene.settle()
    assert len(scene.live()) == 1


def test_indexed_runs_do_each_index_once() -> None:
    scene = Scene(job(completions=3, parallelism=2, indexed=True))
    assert scene.step().start == (Start(0), Start(1))
    scene.end(scene.live()[1], Outcome.SUCCEEDED)
    assert scene.step().start == (Start(2),)
    (zero,) = (name for name in scene.live() if scene.pods[name].ordinal == 0)
    scene.end(zero, Outcome.FAILED, "web: exit code 1")
    assert scene.step().start == ()
    scene.wait()
    assert scene.step().start == (Start(0),)
    run_all(scene, Outcome.SUCCEEDED)
    scene.settle()
    assert scene.status.ready == 3


def test_a_failed_pod_is_followed_by_another_after_a_growing_pause() -> None:
    scene = Scene(job(backoff_limit=9))
    pauses = []
    for _ in range(8):
        scene.settle()
        run_all(scene, Outcome.FAILED, "web: exit code 2: no such table")
        scene.settle()
        pauses.append(scene.wait())
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_RETRY, LONGEST_RETRY]
    assert scene.status.detail == (
        "run 1 of 1 failed 8 times and is tried again: web: exit code 2: no such table"
    )
    assert scene.status.last_exit == "web: exit code 2: no such table"


def test_beyond_the_back_off_limit_it_has_failed_for_good() -> None:
    scene = Scene(job(backoff_limit=2))
    for _ in range(3):
        scene.settle()
        run_all(scene, Outcome.FAILED, "web: exit code 2")
        assert not scene.status.failed or scene.status.restarts == 3
        scene.settle()
        if scene.last.again_in:
            scene.wait()
    assert scene.settle().start == ()
    assert scene.status.failed == "failed 3 times (backoffLimit is 2): web: exit code 2"
    assert scene.status.ready == 0
    scene.seconds += 1000
    assert scene.settle().start == ()


@pytest.mark.parametrize("limit", [0, 3])
def test_restarts_in_a_pod_count_where_containers_are_restarted(limit: int) -> None:
    scene = Scene(job(backoff_limit=limit, restart=RestartPolicy.ON_FAILURE))
    scene.settle()
    (pod,) = scene.live()
    scene.pods[pod].restarts = limit
    scene.settle()
    assert scene.live() == [pod]
    scene.pods[pod].restarts = limit + 1
    scene.settle()
    assert scene.live() == []
    assert f"backoffLimit is {limit}" in scene.status.failed


def test_another_limit_gives_a_failed_job_another_chance() -> None:
    scene = Scene(job(backoff_limit=0))
    scene.settle()
    run_all(scene, Outcome.FAILED)
    scene.settle()
    assert scene.status.failed
    assert scene.wanted.facts.job
    scene.want(job=dataclasses.replace(scene.wanted.facts.job, backoff_limit=1))
    scene.settle()
    assert len(scene.live()) == 1
    assert not scene.status.failed


def test_the_deadline_ends_what_runs() -> None:
    scene = Scene(job(active_deadline=30.0))
    scene.settle()
    assert scene.wait() == 30.0
    scene.settle()
    assert scene.live() == []
    assert scene.status.failed == "not done after 30 s (activeDeadlineSeconds)"


def test_a_suspended_job_runs_nothing_and_is_not_waited_for() -> None:
    scene = Scene(job(completions=2, suspended=True, active_deadline=10.0))
    scene.settle()
    assert (scene.live(), scene.status.wanted, scene.status.detail) == ([], 0, "")
    scene.seconds += 100
    assert scene.wanted.facts.job
    scene.want(job=dataclasses.replace(scene.wanted.facts.job, suspended=False))
    scene.settle()
    assert len(scene.live()) == 1  # the deadline counts from now
    scene.want(job=dataclasses.replace(scene.wanted.facts.job, suspended=True))
    scene.settle()
    assert scene.live() == []
    assert not scene.status.failed


def test_what_it_printed_is_forgotten_after_its_time() -> None:
    scene = Scene(job(ttl=60.0))
    scene.settle()
    run_all(scene, Outcome.SUCCEEDED)
    scene.settle()
    assert scene.wait() == 60.0
    scene.settle()
    assert scene.pods == {}
    assert scene.settle().start == ()
    assert scene.status.ready == 1


def test_only_the_last_pods_are_kept() -> None:
    scene = Scene(job(completions=KEPT_PODS + 5))
    for _ in range(KEPT_PODS + 5):
        scene.settle()
        run_all(scene, Outcome.SUCCEEDED)
    scene.settle()
    assert len(scene.pods) == KEPT_PODS
    assert scene.status.ready == KEPT_PODS + 5


def test_a_pod_that_was_stopped_counts_for_nothing() -> None:
    scene = Scene(job(backoff_limit=0))
    scene.settle()
    (pod,) = scene.live()
    scene.end(pod)
    scene.settle()
    assert len(scene.live()) == 1
    assert not scene.status.failed


def test_no_completions_are_done_at_once() -> None:
    scene = Scene(job(completions=0))
    assert scene.settle().start == ()
    assert (scene.status.wanted, scene.status.ready) == (0, 0)


def test_a_pod_of_the_last_template_is_not_counted() -> None:
    scene = Scene(job("a"))
    scene.settle()
    scene.want(digest="b")
    scene.step()
    scene.controller.ended(Seen("late", "a", outcome=Outcome.SUCCEEDED), scene.now)
    assert scene.status.ready == 0
