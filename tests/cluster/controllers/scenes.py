"""Workloads, pods and moments for tests of controllers; a little cluster that obeys steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lapdev.cluster.controllers import (
    Controller,
    Moment,
    Outcome,
    Seen,
    Step,
    controller_for,
    pod_name,
)
from lapdev.cluster.manifests import (
    Container,
    JobPolicy,
    PodTemplate,
    RestartPolicy,
    Schedule,
    Strategy,
    Workload,
    WorkloadKind,
)
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def wanted(kind: WorkloadKind, digest: str = "n", **facts: object) -> WantedWorkload:
    """A workload `w` of one container; `facts` are fields of its manifest's."""
    restart = facts.pop("restart", RestartPolicy.ALWAYS)
    assert isinstance(restart, RestartPolicy)
    pod = PodTemplate((Container("web", "here"),), restart=restart)
    workload = Workload("w", pod, kind, **facts)  # type: ignore[arg-type]
    return WantedWorkload("w", workload, None, digest)


def job(digest: str = "n", **policy: object) -> WantedWorkload:
    restart = policy.pop("restart", RestartPolicy.NEVER)
    made = JobPolicy(**policy)  # type: ignore[arg-type]
    return wanted(WorkloadKind.JOB, digest, replicas=0, job=made, restart=restart)


def cron(expression: str = "*/5 * * * *", **schedule: object) -> WantedWorkload:
    return wanted(
        WorkloadKind.CRON_JOB,
        replicas=0,
        job=JobPolicy(backoff_limit=0),
        schedule=Schedule(expression, **schedule),  # type: ignore[arg-type]
        restart=RestartPolicy.NEVER,
    )


def deployment(
    digest: str = "n", replicas: int = 1, strategy: Strategy = Strategy.ROLLING
) -> WantedWorkload:
    return wanted(WorkloadKind.DEPLOYMENT, digest, replicas=replicas, strategy=strategy)


def stateful(digest: str = "n", replicas: int = 1, *, ordered: bool = True) -> WantedWorkload:
    return wanted(WorkloadKind.STATEFUL_SET, digest, replicas=replicas, ordered=ordered)


@dataclass
class Scene:
    """Pods start, end and are counted as the controller says; time goes by when told."""

    wanted: WantedWorkload
    pods: dict[str, Seen] = field(default_factory=dict)
    seconds: float = 100.0
    controller: Controller = field(init=False)
    last: Step = field(default_factory=Step)

    def __post_init__(self) -> None:
        self.controller = controller_for(self.wanted.facts.kind)
        self._count = 0

    @property
    def now(self) -> Moment:
        return Moment(self.seconds, NOON + timedelta(seconds=self.seconds - 100.0))

    @property
    def status(self) -> WorkloadStatus:
        return self.controller.status(self.wanted, [*self.pods.values()], self.last.detail)

    @property
    def text(self) -> str:
        """`w-0+ w-1-!`: ready or not, and ending."""
        return " ".join(_text(pod) for pod in self.pods.values())

    def step(self) -> Step:
        """One decision, carried out; pods that are told to end are ending."""
        step = self.last = self.controller.decide(self.wanted, [*self.pods.values()], self.now)
        for name in step.stop:
            if self.pods[name].ended:
                del self.pods[name]
            else:
                self.pods[name].stopping = True
        for name in step.update:
            self.pods[name].digest = self.wanted.digest
        for start in step.start:
            self._count += 1
            name = pod_name(self.wanted, start, f"x{self._count}")
            assert name not in self.pods
            self.pods[name] = Seen(name, self.wanted.digest, ordinal=start.ordinal, run=start.run)
        return step

    def settle(self) -> Step:
        """Steps until there is nothing to do now; pods that are told to end do."""
        for _ in range(100):
            step = self.step()
            ending = [name for name, pod in self.pods.items() if pod.stopping]
            for name in ending:
                self.end(name)
            if not (ending or step.start or step.stop or step.update):
                return step
        raise AssertionError("it never settles")

    def end(self, name: str, outcome: Outcome = Outcome.NONE, said: str = "") -> None:
        """The pod ends: by itself with an outcome, or because it was stopped."""
        pod = self.pods[name]
        pod.outcome, pod.ready, pod.last_exit = outcome, False, said
        self.controller.ended(pod, self.now)
        if not pod.ended:
            del self.pods[name]

    def make_ready(self, *names: str) -> None:
        for name in names or self.pods:
            self.pods[name].ready = True

    def want(self, **changes: object) -> None:
        """Another digest, or other facts."""
        digest = changes.pop("digest", self.wanted.digest)
        facts = dataclasses.replace(self.wanted.facts, **changes)  # type: ignore[arg-type]
        self.wanted = dataclasses.replace(self.wanted, digest=str(digest), facts=facts)

    def live(self) -> list[str]:
        return [name for name, pod in self.pods.items() if not pod.ended]

    def wait(self) -> float:
        """Time goes by until the controller wanted to be asked again."""
        assert self.last.again_in is not None
        self.seconds += self.last.again_in
        return self.last.again_in


def _text(pod: Seen) -> str:
    if pod.ended:
        return f"{pod.name}={pod.outcome}"
    return pod.name + ("+" if pod.ready else "-") + ("!" if pod.stopping else "")
