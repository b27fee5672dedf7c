"""Tables of workloads, and what they mean for their environment."""

from __future__ import annotations

import pytest

from lapdev.manager.progress import progress
from lapdev.model import EnvironmentStatus, WorkloadStatus

STARTING, READY, FAILED = (
    EnvironmentStatus.STARTING,
    EnvironmentStatus.READY,
    EnvironmentStatus.FAILED,
)
WEB = WorkloadStatus("web", wanted=2, ready=2)
SLOW = WorkloadStatus("slow", wanted=2, ready=1, detail="slow-1 does not listen on 80 yet")
QUIET = WorkloadStatus("quiet", wanted=1, ready=0)
RUNNING = WorkloadStatus("migrate", wanted=1, ready=0, kind="Job", detail="runs since 12:00")
DONE = WorkloadStatus("migrate", wanted=1, ready=1, kind="Job", succeeded=1)
GONE_WRONG = WorkloadStatus("migrate", wanted=1, ready=0, kind="Job", failed="7 pods have failed")
IDLE = WorkloadStatus("nightly", wanted=0, ready=0, kind="CronJob")
LATE = WorkloadStatus("nightly", wanted=1, ready=0, kind="CronJob", failed="its run has failed")
OFF = WorkloadStatus("off", wanted=0, ready=0)

CASES: list[tuple[str, list[WorkloadStatus], EnvironmentStatus, str]] = [
    ("nothing to run", [], READY, ""),
    ("all there", [WEB, DONE, OFF], READY, ""),
    ("one pod missing", [WEB, SLOW], STARTING, "slow: slow-1 does not listen on 80 yet"),
    ("nothing to say", [WEB, QUIET], STARTING, ""),
    ("a job runs", [WEB, RUNNING], STARTING, "migrate: runs since 12:00"),
    ("two to wait for", [SLOW, QUIET, RUNNING], STARTING,
     "slow: slow-1 does not listen on 80 yet; migrate: runs since 12:00"),
    ("a job has failed", [WEB, GONE_WRONG], FAILED, "migrate: 7 pods have failed"),
    ("a failure goes before what starts", [SLOW, GONE_WRONG], FAILED,
     "migrate: 7 pods have failed"),
    ("a cron job keeps nobody waiting", [WEB, IDLE, LATE], READY, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("workloads", "status", "detail"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_an_environment_is_as_far_as_its_workloads(
    workloads: list[WorkloadStatus], status: EnvironmentStatus, detail: str
) -> None:
    assert progress(workloads) == (status, detail)
