"""Workloads as checked values: what runs pods, how many, and how they follow one another.

Values only; `workload_parts` reads them from an object. Fields lapdev has no use for are left
unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lapdev.cluster.manifests.pod import PodTemplate


class WorkloadKind(StrEnum):
    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    JOB = "Job"
    CRON_JOB = "CronJob"
    POD = "Pod"


class Strategy(StrEnum):
    """How pods of a changed template take the place of the old ones."""

    ROLLING = "RollingUpdate"
    RECREATE = "Recreate"
    IN_PLACE = "InPlace"
    """The pod stays; only containers that changed are started again (annotation
    `lapdev.dev/update: in-place`)."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """When a Job is done, and when it has failed. Durations in seconds."""

    completions: int = 1
    parallelism: int = 1
    backoff_limit: int = 6
    active_deadline: float | None = None
    ttl: float | None = None
    """A finished Job's pods are forgotten after this long; None: they stay."""
    indexed: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a CronJob runs."""

    expression: str
    timezone: str = ""
    """Empty: UTC."""
    concurrency: str = "Allow"
    """Allow, Forbid or Replace."""
    suspended: bool = False
    starting_deadline: float | None = None
    successful_history: int = 3
    failed_history: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet, DaemonSet (one pod here), Job, CronJob or bare Pod."""

    name: str
    pod: PodTemplate
    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    replicas: int = 1
    """Pods that should run. Of a Job or CronJob: 0, `job` says it."""
    strategy: Strategy = Strategy.ROLLING
    ordered: bool = True
    """StatefulSet: a pod starts when the one before it is ready (OrderedReady)."""
    governing_service: str = ""
    """StatefulSet: its pods are `<pod>.<service>` in DNS."""
    job: JobPolicy | None = None
    """Of Jobs and CronJobs."""
    schedule: Schedule | None = None
    """Of CronJobs."""

    @property
    def where(self) -> str:
        """`Deployment/api`, for complaints."""
        return f"{self.kind}/{self.name}"
