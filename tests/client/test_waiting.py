"""Waiting says each new thing it waits for, once."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.account import Account
from lapdev.client.rest import RestClient
from lapdev.client.waiting import wait_ready, waits_for
from lapdev.cloud.actions import EnvironmentLive
from lapdev.model import EnvironmentId, EnvironmentStatus, WorkloadStatus
from tests.support.api import TOKEN
from tests.support.served_api import ServedApi


async def test_progress_changes_until_it_is_ready(
    api: ServedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await api.rig.make_shop()
    starting = EnvironmentStatus.STARTING
    steps = [
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 1), WorkloadStatus("api", 1, 0))),
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 1), WorkloadStatus("api", 1, 0))),
        EnvironmentLive(starting, "", (WorkloadStatus("web", 2, 2),)),
        EnvironmentLive(EnvironmentStatus.READY),
    ]

    def pause(_: float) -> None:
        api.rig.link.live[EnvironmentId(str(made["id"]))] = steps.pop(0)

    def wait() -> str:
        with RestClient(Account(api.server, TOKEN)) as client:
            return str(wait_ready(client, "shop", 60.0, pause, lambda: 0.0)["status"])

    assert await asyncio.to_thread(wait) == "ready"
    assert steps == []
    assert capsys.readouterr().err.splitlines() == [
        "shop is not ready yet: the cluster is taking it up",
        "shop is not ready yet: web (1/2 ready), api (0/1 ready)",
        "shop is not ready yet: the cluster is taking it up",
    ]


def test_a_workloads_own_trouble_is_part_of_what_is_waited_for() -> None:
    workload = {"name": "web", "ready": 0, "wanted": 1, "detail": "exited with 1"}
    assert waits_for({"workloads": [workload], "detail": ""}) == "web (0/1 ready: exited with 1)"


def test_without_workloads_the_environments_own_words_count() -> None:
    assert waits_for({"workloads": [], "detail": "the cluster is away"}) == "the cluster is away"
