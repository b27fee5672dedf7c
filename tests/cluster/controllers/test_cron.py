"""CronJobs: when runs begin, which are skipped, and what is kept of them."""

from __future__ import annotations

import dataclasses

import pytest

from lapdev.cluster.controllers import Outcome
from tests.cluster.controllers.scenes import Scene, cron


def pass_time(scene: Scene, seconds: float) -> list[str]:
    """Time goes by and the controller is asked when it wants to be; names of new pods."""
    before, end = set(scene.pods), scene.seconds + seconds
    while scene.last.again_in is not None and scene.seconds + scene.last.again_in <= end:
        scene.wait()
        scene.settle()
    scene.seconds = max(scene.seconds, end)
    scene.settle()
    return [name for name in scene.pods if name not in before]


def begun(wanted_cron: object = None) -> Scene:
    scene = Scene(wanted_cron or cron())  # type: ignore[arg-type]
    scene.settle()
    return scene


def test_a_run_begins_when_it_is_due_and_not_before() -> None:
    scene = begun()
    assert pass_time(scene, 299) == []
    (first,) = pass_time(scene, 1)
    assert first.startswith("w-295")
    assert pass_time(scene, 299) == []
    assert len(pass_time(scene, 1)) == 1


def test_it_is_looked_at_every_minute_because_laptops_sleep() -> None:
    scene = begun(cron("0 0 1 1 *"))
    assert scene.last.again_in == 60.0


def test_a_cron_job_is_never_waited_for_and_never_failed() -> None:
    scene = begun()
    (pod,) = pass_time(scene, 300)
    scene.end(pod, Outcome.FAILED, "web: exit code 1")
    scene.settle()
    status = scene.status
    assert (status.wanted, status.ready, status.failed, status.detail) == (0, 0, "", "")
    assert status.last_exit == "web: exit code 1"
    assert status.kind == "CronJob"


def test_of_several_missed_times_the_last_counts() -> None:
    scene = begun()
    scene.seconds += 3600 + 30  # asleep
    assert len(scene.settle().start) == 0
    assert len(scene.live()) == 1
    assert len(pass_time(scene, 240)) == 0
    assert len(pass_time(scene, 60)) == 1


def test_what_is_too_late_is_not_begun() -> None:
    scene = begun(cron(starting_deadline=10.0))
    scene.seconds += 300 + 11
    scene.settle()
    assert scene.live() == []
    assert len(pass_time(scene, 300)) == 1


def test_runs_may_go_on_beside_each_other() -> None:
    scene = begun(cron(concurrency="Allow"))
    pass_time(scene, 900)
    assert len(scene.live()) == 3


def test_forbidden_runs_wait_for_the_last_one() -> None:
    scene = begun(cron(concurrency="Forbid"))
    (first,) = pass_time(scene, 300)
    assert pass_time(scene, 700) == []
    scene.end(first, Outcome.SUCCEEDED)
    scene.settle()
    assert len(scene.live()) == 1
    (second,) = scene.live()
    assert second != first


def test_forbidden_runs_are_dropped_when_it_is_too_late_for_them() -> None:
    scene = begun(cron(concurrency="Forbid", starting_deadline=20.0))
    (first,) = pass_time(scene, 300)
    pass_time(scene, 340)
    scene.end(first, Outcome.SUCCEEDED)
    scene.settle()
    assert scene.live() == []


def test_a_run_replaces_the_one_that_still_goes_on() -> None:
    scene = begun(cron(concurrency="Replace"))
    (first,) = pass_time(scene, 300)
    (second,) = pass_time(scene, 300)
    assert scene.live() == [second]
    assert first not in scene.pods


def test_a_suspended_one_begins_nothing_and_then_what_was_missed() -> None:
    scene = begun(cron(suspended=True))
    assert scene.last.again_in is None
    scene.seconds += 900
    scene.settle()
    assert scene.live() == []
    assert scene.wanted.facts.schedule
    scene.want(schedule=dataclasses.replace(scene.wanted.facts.schedule, suspended=False))
    scene.settle()
    assert len(scene.live()) == 1


def test_another_schedule_counts_from_now() -> None:
    scene = begun(cron("0 0 1 1 *"))
    scene.seconds += 3600
    scene.settle()
    scene.want(schedule=cron("30 12 * * *").facts.schedule)
    scene.settle()
    assert scene.live() == []


@pytest.mark.parametrize(("outcome", "kept"), [(Outcome.SUCCEEDED, 2), (Outcome.FAILED, 1)])
def test_as_many_ended_runs_are_kept_as_asked_for(outcome: Outcome, kept: int) -> None:
    scene = begun(cron(successful_history=2, failed_history=1))
    newest = []
    for _ in range(5):
        (pod,) = pass_time(scene, 300)
        newest.append(pod)
        scene.end(pod, outcome)
        scene.settle()
    assert list(scene.pods) == newest[-kept:]


def test_another_template_is_for_the_next_run() -> None:
    scene = begun()
    (pod,) = pass_time(scene, 300)
    scene.want(digest="other")
    scene.settle()
    assert scene.live() == [pod]
    (new,) = pass_time(scene, 300)
    assert scene.pods[new].digest == "other"
