"""Jobs: pods that run to their end, as often as it takes, and then no more.

A run that is done stays done until its template changes. `DoneJob` is what a driver keeps of it for
its successor; a run that has failed for good gets another chance from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from lapdev.cluster.controllers.step import Moment, Outcome, Seen, Start, Step
from lapdev.cluster.manifests import JobPolicy, RestartPolicy
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Between a failed pod and the next. Kubernetes waits ten times as long. Seconds."""
KEPT_PODS = 20
"""Ended pods whose lines can still be read, per run."""


@dataclass(slots=True)
class JobRun:
    """One time that a Job's template is run to its end."""

    name: str = ""
    """Which run of a CronJob; empty for a Job."""
    done: bool = False
    failure: str = ""
    """Why it has failed for good."""
    succeeded: int = 0
    failed: int = 0
    last_exit: str = ""
    last_failure: str = ""
    """How the last pod that failed ended."""
    _indexes: set[int] = field(default_factory=set)
    _restarts: int = 0
    """Of containers in pods that are gone."""
    _started: float | None = None
    _finished: float | None = None
    _retry_at: float = 0.0

    @classmethod
    def of(cls, done: DoneJob) -> JobRun:
        return cls(succeeded=done.succeeded, _indexes=set(done.indexes))

    @property
    def indexes(self) -> tuple[int, ...]:
        """Of an indexed Job, those that are done."""
        return tuple(sorted(self._indexes))

    @property
    def finished(self) -> bool:
        return self.done or bool(self.failure)

    def ended(self, pod: Seen, now: Moment) -> None:
        """The pod's end is counted. A pod that was stopped counts for nothing."""
        self.last_exit = pod.last_exit or self.last_exit
        self._restarts += pod.restarts
        if pod.outcome is Outcome.SUCCEEDED:
            self.succeeded += 1
            if pod.ordinal is not None:
                self._indexes.add(pod.ordinal)
        elif pod.outcome is Outcome.FAILED:
            self.failed += 1
            self.last_failure = pod.last_exit
            pause = min(FIRST_RETRY * 2.0 ** (self.failed - 1), LONGEST_RETRY)
            self._retry_at = now.seconds + pause

    def restarts(self, pods: Sequence[Seen]) -> int:
        return self._restarts + sum(pod.restarts for pod in pods if not pod.ended)

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        """`pods` are those of this run."""
        policy = wanted.facts.job or JobPolicy()
        active = [pod for pod in pods if not pod.ended and not pod.stopping]
        if self.count(policy) >= policy.completions and not self.failure:
            self.done = True
        if not self.finished:
            self.failure = self._failure(wanted, policy, active, now)
        if self.finished:
            self._finished = now.seconds if self._finished is None else self._finished
            forgotten, again_in = self._forgotten(policy, pods, now)
            return Step(stop=(*_names(active), *forgotten), again_in=again_in)
        if policy.suspended:
            self._started = None
            return Step(stop=_names(active))
        return self._work(policy, pods, active, now)

    def count(self, policy: JobPolicy) -> int:
        """Runs that are done, each index once."""
        if policy.indexed:
            return sum(index < policy.completions for index in self._indexes)
        return min(self.succeeded, policy.completions)

    def _work(
        self, policy: JobPolicy, pods: Sequence[Seen], active: Sequence[Seen], now: Moment
    ) -> Step:
        if self._started is None:
            self._started = now.seconds
        left = policy.completions - self.count(policy)
        room = min(policy.parallelism, left)
        waits = []
        if policy.active_deadline is not None:
            waits.append(self._started + policy.active_deadline - now.seconds)
        start: tuple[Start, ...] = ()
        if len(active) < room and self._retry_at > now.seconds:
            waits.append(self._retry_at - now.seconds)
        elif len(active) < room:
            start = self._starts(policy, pods, room - len(active))
        surplus = _names(active[room:])
        again_in = max(0.0, min(waits)) if waits else None
        old = _too_many(pods)
        return Step(start, (*surplus, *old), again_in=again_in, detail=self._detail(policy, active))

    def _starts(self, policy: JobPolicy, pods: Sequence[Seen], room: int) -> tuple[Start, ...]:
        if not policy.indexed:
            return (Start(run=self.name),) * room
        # An index has one pod at a time, one that is ending included.
        taken = self._indexes | {
            pod.ordinal for pod in pods if not pod.ended and pod.ordinal is not None
        }
        free = (index for index in range(policy.completions) if index not in taken)
        return tuple(Start(index, self.name) for index in islice(free, room))

    def _failure(
        self, wanted: WantedWorkload, policy: JobPolicy, active: Sequence[Seen], now: Moment
    ) -> str:
        again = wanted.facts.pod.restart is RestartPolicy.ON_FAILURE
        restarts = self.restarts(active) if again else 0
        restarted = (pod.last_exit for pod in active if pod.restarts)
        last = self.last_failure or next(restarted, "")
        why = f": {last}" if last else ""
        if self.failed > policy.backoff_limit or restarts > policy.backoff_limit:
            times = max(self.failed, restarts)
            return f"failed {times} times (backoffLimit is {policy.backoff_limit}){why}"
        deadline = policy.active_deadline
        if (
            deadline is not None
            and self._started is not None
            and now.seconds >= self._started + deadline
        ):
            return f"not done after {deadline:g} s (activeDeadlineSeconds){why}"
        return ""

    def _forgotten(
        self, policy: JobPolicy, pods: Sequence[Seen], now: Moment
    ) -> tuple[tuple[str, ...], float | None]:
        """Ended pods that are no longer kept, and when the others will not be."""
        if policy.ttl is None or self._finished is None:
            return _too_many(pods), None
        left = self._finished + policy.ttl - now.seconds
        if left > 0:
            return _too_many(pods), left
        return _names([pod for pod in pods if pod.ended]), None

    def _detail(self, policy: JobPolicy, active: Sequence[Seen]) -> str:
        run = f"run {min(self.count(policy) + 1, policy.completions)} of {policy.completions}"
        why = next((pod.why for pod in active if pod.why), self.last_failure)
        if self.failed and not active:
            text = f"{run} failed {_times(self.failed)} and is tried again"
        elif self.failed:
            text = f"{run} failed {_times(self.failed)} and is running again"
        else:
            text = f"{run} is running"
        return f"{text}: {why}" if why else text


@dataclass(frozen=True, slots=True)
class DoneJob:
    """A run that is done, as another process may know it."""

    digest: str
    """The workload's."""
    succeeded: int
    indexes: tuple[int, ...] = ()


@dataclass(slots=True)
class JobController:
    """One run per template."""

    _digest: str = ""
    _policy: JobPolicy | None = None
    _run: JobRun = field(default_factory=JobRun)

    @property
    def done(self) -> DoneJob | None:
        """None: it is not done."""
        run = self._run
        return DoneJob(self._digest, run.succeeded, run.indexes) if run.done else None

    def resume(self, done: DoneJob) -> None:
        """Before the first step: this has been done already."""
        self._digest, self._run = done.digest, JobRun.of(done)

    def ended(self, pod: Seen, now: Moment) -> None:
        if pod.digest == self._digest:
            self._run.ended(pod, now)

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        failed_by_other = bool(self._run.failure) and wanted.facts.job != self._policy
        if wanted.digest != self._digest or failed_by_other:
            # What is left of the last run ends before this one begins.
            self._digest, self._run = wanted.digest, JobRun()
        self._policy = wanted.facts.job
        old = [pod for pod in pods if pod.digest != wanted.digest]
        if any(not pod.ended for pod in old):
            stop = tuple(pod.name for pod in old if not pod.stopping)
            return Step(stop=stop, detail=f"waiting for {old[0].name} to end")
        mine = [pod for pod in pods if pod.digest == wanted.digest]
        step = self._run.decide(wanted, mine, now)
        return Step(
            step.start, (*step.stop, *_names(old)), again_in=step.again_in, detail=step.detail
        )

    def status(self, wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
        run = self._run if wanted.digest == self._digest else JobRun()
        policy = wanted.facts.job or JobPolicy()
        done = run.count(policy)
        return WorkloadStatus(
            name=wanted.name,
            kind=wanted.facts.kind,
            # A suspended Job is not waited for.
            wanted=done if policy.suspended else policy.completions,
            ready=done,
            succeeded=done,
            restarts=run.restarts(pods) + run.failed,
            failed=run.failure,
            last_exit=next((pod.last_exit for pod in pods if pod.last_exit), "") or run.last_exit,
            detail=detail,
        )


def _names(pods: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(pod.name for pod in pods)


def _too_many(pods: Sequence[Seen]) -> tuple[str, ...]:
    """The oldest of those that have ended."""
    ended = [pod for pod in pods if pod.ended]
    return _names(ended[: max(0, len(ended) - KEPT_PODS)])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
