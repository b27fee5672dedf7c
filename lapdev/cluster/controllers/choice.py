"""Which controller a kind of workload has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lapdev.cluster.controllers.cron import CronController
from lapdev.cluster.controllers.job import JobController
from lapdev.cluster.controllers.replicas import ReplicasController
from lapdev.cluster.controllers.stateful import StatefulController
from lapdev.cluster.controllers.step import Moment, Seen, Step
from lapdev.cluster.manifests import WorkloadKind
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus


class Controller(Protocol):
    """Of one workload."""

    def ended(self, pod: Seen, now: Moment) -> None:
        """The pod has ended, by itself or because it was stopped. Told once."""

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        """What to do now. `pods` are all there are, oldest first, ended ones too."""

    def status(self, wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
        """`detail` is the last step's."""


def controller_for(kind: WorkloadKind) -> Controller:
    match kind:
        case WorkloadKind.STATEFUL_SET:
            return StatefulController()
        case WorkloadKind.JOB:
            return JobController()
        case WorkloadKind.CRON_JOB:
            return CronController()
        case WorkloadKind.DEPLOYMENT | WorkloadKind.DAEMON_SET | WorkloadKind.POD:
            return ReplicasController()
