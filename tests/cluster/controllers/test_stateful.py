"""Pods with ordinals: upwards one after the other, downwards to change."""

from __future__ import annotations

from lapdev.cluster.controllers import Start
from tests.cluster.controllers.scenes import Scene, stateful


def up(scene: Scene) -> None:
    """Everything is as wanted."""
    for _ in range(20):
        scene.settle()
        scene.make_ready()


def test_a_pod_starts_when_the_one_before_it_is_ready() -> None:
    scene = Scene(stateful(replicas=3))
    assert scene.settle().detail == "waiting for w-0 to be ready"
    assert scene.text == "w-0-"
    scene.pods["w-0"].why = "no such table"
    assert scene.settle().detail == "waiting for w-0 to be ready: no such table"
    scene.make_ready("w-0")
    scene.settle()
    assert scene.text == "w-0+ w-1-"
    scene.make_ready("w-1")
    scene.settle()
    assert scene.text == "w-0+ w-1+ w-2-"
    scene.make_ready("w-2")
    assert scene.settle().detail == ""
    assert scene.status.ready == 3


def test_in_parallel_all_start_at_once() -> None:
    scene = Scene(stateful(replicas=3, ordered=False))
    assert scene.step().start == (Start(0), Start(1), Start(2))


def test_a_name_is_free_only_when_its_pod_has_ended() -> None:
    for ordered in (True, False):
        scene = Scene(stateful(replicas=2, ordered=ordered))
        up(scene)
        scene.pods["w-0"].stopping = True
        assert scene.step().start == ()
        assert scene.last.detail == "waiting for w-0 to end"
        scene.end("w-0")
        assert scene.step().start == (Start(0),)


def test_a_change_goes_from_the_highest_to_the_lowest_one_at_a_time() -> None:
    scene = Scene(stateful("o", replicas=3))
    up(scene)
    scene.want(digest="n")
    for name in ("w-2", "w-1", "w-0"):
        assert scene.step().stop == (name,)
        assert scene.step().stop == ()
        scene.end(name)
        scene.settle()
        assert scene.last.detail == f"waiting for {name} to be ready"
        assert scene.pods[name].digest == "n"
        scene.make_ready(name)
    assert scene.settle().detail == ""


def test_a_change_that_never_gets_ready_stops_at_the_first_pod() -> None:
    scene = Scene(stateful("o", replicas=3))
    up(scene)
    scene.want(digest="broken")
    scene.settle()
    scene.settle()
    assert scene.text == "w-0+ w-1+ w-2-"
    # and its correction does not wait for it
    scene.want(digest="n")
    assert scene.step().stop == ("w-2",)


def test_shrinking_goes_from_the_highest_one_at_a_time() -> None:
    scene = Scene(stateful(replicas=4))
    up(scene)
    scene.want(replicas=1)
    assert scene.step().stop == ("w-3",)
    assert scene.step().stop == ()
    scene.end("w-3")
    assert scene.step().stop == ("w-2",)
    scene.settle()
    assert scene.text == "w-0+"


def test_shrinking_to_nothing_ends() -> None:
    for ordered in (True, False):
        scene = Scene(stateful(replicas=3, ordered=ordered))
        up(scene)
        scene.want(replicas=0)
        scene.settle()
        assert scene.text == ""


def test_shrinking_in_parallel_takes_all_at_once() -> None:
    scene = Scene(stateful(replicas=3, ordered=False))
    up(scene)
    scene.want(replicas=1)
    assert scene.step().stop == ("w-2", "w-1")


def test_a_gap_is_filled_before_anything_changes() -> None:
    scene = Scene(stateful("o", replicas=3))
    up(scene)
    scene.end("w-1")
    scene.want(digest="n")
    step = scene.step()
    assert (step.start, step.stop) == ((Start(1),), ())
