"""Waiting says each new thing it waits for, once."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.account import Account
from lapdev.client.rest import Json, RestClient
from lapdev.client.waiting import Story, fact, wait_ready, waits_for
from lapdev.cloud.actions import EnvironmentLive
from lapdev.errors import ClusterError, LapdevError, NotReady
from lapdev.model import EnvironmentId, EnvironmentStatus, WorkloadStatus
from tests.support.api import TOKEN
from tests.support.log_api import log_api, printed
from tests.support.served_api import ServedApi


def workload(name: str, ready: int, wanted: int = 1, **more: object) -> Json:
    quiet = {"detail": "", "kind": "Deployment", "succeeded": 0, "failed": "", "last_exit": ""}
    return {"name": name, "ready": ready, "wanted": wanted} | quiet | more


def environment(*workloads: Json, status: str = "starting", detail: str = "") -> Json:
    return {"name": "shop", "status": status, "detail": detail, "workloads": list(workloads)}


async def test_each_new_fact_is_one_line_with_the_seconds_it_took(
    api: ServedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await api.rig.make_shop()
    starting = EnvironmentStatus.STARTING
    steps = [
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 1), WorkloadStatus("api", 1, 0))),
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 1), WorkloadStatus("api", 1, 0))),
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 2), WorkloadStatus("api", 1, 0))),
        EnvironmentLive(
            EnvironmentStatus.READY, "", (WorkloadStatus("web", 2, 2), WorkloadStatus("api", 1, 1))
        ),
    ]
    seconds = iter(range(100))

    def pause(_: float) -> None:
        api.rig.link.live[EnvironmentId(str(made["id"]))] = steps.pop(0)

    def wait() -> str:
        with RestClient(Account(api.server, TOKEN)) as client:
            return str(wait_ready(client, "shop", 60.0, pause, lambda: next(seconds))["status"])

    assert await asyncio.to_thread(wait) == "ready"
    assert steps == []
    assert capsys.readouterr().err.splitlines() == [
        "   1.0 s  the cluster is taking it up",
        "   2.0 s  web: 1/2 ready",
        "   2.0 s  api: 0/1 ready",
        "   4.0 s  web: ready",
        "   5.0 s  api: ready",
    ]


async def given_up(found: Json, kind: type[LapdevError]) -> tuple[str, list[str]]:
    """The hint, and of which workloads lines were asked for."""
    async with log_api() as api:
        api.found = found
        api.past = [printed("waiting for db")]

        def wait() -> None:
            with RestClient(Account(api.server, TOKEN)) as client:
                wait_ready(client, "shop", 0.0, clock=lambda: 7.0)

        with pytest.raises(kind) as caught:
            await asyncio.to_thread(wait)
        return caught.value.hint, [query["workload"] for query in api.queries]


async def test_what_hangs_without_ending_has_its_last_lines_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hanging = environment(workload("web", 1), workload("api", 0, detail="waits for init"))
    assert (await given_up(hanging, NotReady))[1] == ["api"]
    assert capsys.readouterr().err.splitlines() == [
        "   0.0 s  api: 0/1 ready, waits for init",
        "          api printed last:",
        "          | waiting for db",
    ]


async def test_the_logs_of_what_failed_are_pointed_at_before_those_of_what_has_not_started() -> (
    None
):
    broken = environment(workload("slow", 0), workload("test", 0, failed="code 4"), status="failed")
    hint, _ = await given_up(broken, ClusterError)
    assert "`lapdev env logs shop test` what it prints" in hint


def test_what_was_ready_from_the_start_is_not_said() -> None:
    story = Story()
    assert story.news(environment(workload("web", 1), workload("api", 0))) == ["api: 0/1 ready"]
    assert story.news(environment(workload("web", 1), workload("api", 1))) == ["api: ready"]


def test_a_workload_that_ends_again_and_again_is_said_once() -> None:
    story = Story()
    ended = workload("api", 0, detail="starts again in 10 s", last_exit="api: exit code 1")
    assert story.news(environment(ended)) == [
        "api: 0/1 ready, starts again in 10 s, last exit: api: exit code 1"
    ]
    assert [item["name"] for item in story.newly_ended(environment(ended))] == ["api"]
    assert story.news(environment(workload("api", 0))) == ["api: 0/1 ready"]
    assert story.news(environment(ended)) == []
    assert story.newly_ended(environment(ended)) == []
    assert story.newly_ended(environment({**ended, "last_exit": "api: exit code 2"}))


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (workload("web", 0, detail="exited with 1"), "0/1 ready, exited with 1"),
        (
            workload("web", 0, detail="x: restarting: code 1", last_exit="x: code 1"),
            "0/1 ready, x: restarting: code 1",
        ),
        (workload("web", 1), "ready"),
        (workload("move", 1, kind="Job", succeeded=1), "done"),
        (workload("move", 1, kind="Job", succeeded=0), "ready"),
        (
            workload("move", 0, kind="Job", failed="exit code 3, 6 times"),
            "failed: exit code 3, 6 times",
        ),
        (workload("idle", 0, wanted=0), "ready"),
        (workload("idle", 0, wanted=0, kind="Job"), "ready"),
    ],
)
def test_a_fact_says_how_far_it_is_and_what_keeps_it(item: Json, text: str) -> None:
    assert fact(item) == text


def test_what_is_waited_for_are_those_that_are_not_ready() -> None:
    found = environment(workload("web", 1), workload("api", 0, detail="exited with 1"))
    assert waits_for(found) == "api (0/1 ready, exited with 1)"


def test_without_workloads_the_environments_own_words_count() -> None:
    assert waits_for(environment(detail="the cluster is away")) == "the cluster is away"
    assert Story().news(environment(detail="the cluster is away")) == ["the cluster is away"]
    assert Story().news(environment(status="failed", detail="the error says it, too")) == []
