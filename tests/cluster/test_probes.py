"""When noes and yeses count. Every case is told in seconds of a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from lapdev.cluster.manifests import Handler, Probe
from lapdev.cluster.probes import EAGER, wait_started, wait_yes, watch_alive, watch_ready
from lapdev.net.tasks import Tasks
from tests.support.virtual_time import run_virtual

HTTP, EXEC = Handler("http", 80), Handler("exec", command=("true",))


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


class Answers:
    """Answers by the clock: yes between the given seconds, no else."""

    def __init__(self, *yes: tuple[float, float], takes: float = 0.0) -> None:
        self.yes = yes
        self.takes = takes
        self.asked: list[float] = []

    async def __call__(self) -> str:
        self.asked.append(now())
        answer = any(start <= now() < end for start, end in self.yes)
        await asyncio.sleep(self.takes)
        return "" if answer else f"no at {self.asked[-1]:g}"


FOREVER = 1e9


def probe(handler: Handler = HTTP, **given: Any) -> Probe:
    return Probe(handler, **given)


def test_the_first_yes_is_asked_for_often_and_then_no_more() -> None:
    answers = Answers((3.0, FOREVER))
    run_virtual(lambda: wait_yes(answers))
    assert answers.asked[:3] == [0.0, 0.02, 0.05]
    pauses = [after - before for before, after in itertools.pairwise(answers.asked)]
    assert max(pauses) == pytest.approx(EAGER.longest)
    assert 3.0 <= answers.asked[-1] <= 3.5


@pytest.mark.parametrize(
    ("given", "yes", "takes", "ended", "why"),
    [
        # One no is one too many.
        (probe(failure_threshold=1), FOREVER, 0.0, 0.0, "no at 0"),
        (probe(failure_threshold=1, initial_delay=5), FOREVER, 0.0, 5.0, "no at 5"),
        # The third no comes two periods after the first, however often it was asked between.
        (probe(failure_threshold=3), FOREVER, 0.0, 20.0, "no at 20"),
        (probe(EXEC, failure_threshold=3), FOREVER, 0.0, 20.0, "no at 20"),
        (probe(failure_threshold=30, period=2), FOREVER, 0.0, 58.0, "no at 58"),
        # An answer that takes longer than the period is one no.
        (probe(failure_threshold=3, period=1), FOREVER, 2.0, 6.0, "no at 4"),
        (probe(failure_threshold=3), 15.0, 0.0, 15.0, ""),
        (probe(failure_threshold=3, initial_delay=2), 0.0, 0.0, 2.0, ""),
    ],
)
def test_a_startup_probe_has_threshold_times_period(
    given: Probe, yes: float, takes: float, ended: float, why: str
) -> None:
    async def case() -> None:
        said: list[str] = []
        answers = Answers((yes, FOREVER), takes=takes)
        assert await wait_started(given, answers, said.append) == why
        assert ended <= now() < ended + (0.5 if yes < FOREVER else 0.001)
        assert len(said) == given.failure_threshold if why else len(said) < given.failure_threshold

    run_virtual(case)


def followed(given: Probe, answers: Answers, seconds: float) -> list[tuple[float, bool]]:
    """The changes that `watch_ready` reports in that time, and when."""
    changes: list[tuple[float, bool]] = []

    def report(ready: bool, why: str) -> None:
        assert bool(why) is not ready
        if not changes or changes[-1][1] is not ready:
            changes.append((now(), ready))

    async def case() -> None:
        async with Tasks() as tasks:
            tasks.spawn(watch_ready(given, answers, report), "watch")
            await asyncio.sleep(seconds)

    run_virtual(case)
    return changes


def test_ready_at_the_first_yes_and_not_at_the_third_no_in_a_row() -> None:
    answers = Answers((0.0, 10.0), (20.0, 30.0), (50.0, FOREVER))
    changes = followed(probe(failure_threshold=3, period=5), answers, 100)
    # no at 10, 15: not enough; yes at 20, 25; no at 30, 35, 40
    assert changes == [(0.0, True), (40.0, False), (50.0, True)]


def test_as_many_yeses_in_a_row_as_the_success_threshold_says() -> None:
    answers = Answers((0.0, 100.0), (115.0, 120.0), (130.0, FOREVER))
    given = probe(success_threshold=3, failure_threshold=1, period=5)
    changes = followed(given, answers, 200)
    assert changes[1:] == [(pytest.approx(100.0, abs=5), False), (pytest.approx(140, abs=5), True)]
    assert changes[0][1] is True
    assert 0 < changes[0][0] < 0.2, "the first yeses are asked for often"


def test_every_no_before_the_first_yes_is_told() -> None:
    answers = Answers((8.0, FOREVER))
    told: list[str] = []

    async def case() -> None:
        async with Tasks() as tasks:
            following = watch_ready(probe(EXEC), answers, lambda _, why: told.append(why))
            tasks.spawn(following, "watch")
            await asyncio.sleep(10)

    run_virtual(case)
    assert told[0] == "no at 0"
    assert told[-1] == ""
    assert 8 <= len(told) <= 16, "asking starts a process each time"


@pytest.mark.parametrize(
    ("given", "yes", "ended"),
    [
        (probe(), (0.0, 0.0), 20.0),
        (probe(initial_delay=30, period=1, failure_threshold=1), (0.0, 0.0), 30.0),
        (probe(period=10), (0.0, 55.0), 80.0),
    ],
)
def test_dead_after_as_many_noes_in_a_row_as_the_threshold_says(
    given: Probe, yes: tuple[float, float], ended: float
) -> None:
    async def case() -> None:
        assert await watch_alive(given, Answers(yes)) == f"no at {ended:g}"
        assert now() == ended

    run_virtual(case)


def test_a_no_now_and_then_is_no_death() -> None:
    yes = [(start, start + 10.0) for start in range(0, 1000, 30)]
    assert run_virtual(lambda: watch_alive(probe(), Answers(*yes))) == "no at 1020"
