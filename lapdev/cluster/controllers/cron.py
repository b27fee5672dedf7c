"""CronJobs: a run of a Job whenever the calendar says so.

Each run looks after its own pods; here is decided when runs begin and how long they are kept.
A failed run is nothing that is waited for: the next one comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lapdev.cluster.controllers.calendar import latest_due, next_after
from lapdev.cluster.controllers.job import JobRun
from lapdev.cluster.controllers.step import Moment, Seen, Step
from lapdev.cluster.manifests import Schedule
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus

LONGEST_WAIT = 60.0
"""The timer stands still while a laptop sleeps: the calendar is looked at this often. Seconds."""


@dataclass(slots=True)
class CronController:
    _schedule: tuple[str, str] = ("", "")
    _since: datetime | None = None
    """Times up to this one have been seen to."""
    _runs: dict[str, JobRun] = field(default_factory=dict)
    """Oldest first."""
    _last_exit: str = ""

    def ended(self, pod: Seen, now: Moment) -> None:
        if pod.run in self._runs:
            self._runs[pod.run].ended(pod, now)
            self._last_exit = pod.last_exit or self._last_exit

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        schedule = wanted.facts.schedule
        assert schedule is not None
        # First, so that it is known which have finished.
        steps = {name: self._run_step(name, wanted, pods, now) for name in self._runs}
        self._start_due(schedule, self._seen_to(schedule, now), now)
        for name in self._runs.keys() - steps.keys():
            steps[name] = self._run_step(name, wanted, pods, now)
        self._forget(schedule)
        going_on = [step for name, step in steps.items() if name in self._runs]
        gone = [pod.name for pod in pods if pod.run not in self._runs and not pod.stopping]
        waits = [step.again_in for step in going_on if step.again_in is not None]
        if not schedule.suspended:
            wall = (next_after(schedule, now.wall) - now.wall).total_seconds()
            waits.append(min(wall, LONGEST_WAIT))
        return Step(
            start=tuple(start for step in going_on for start in step.start),
            stop=(*(name for step in going_on for name in step.stop), *gone),
            again_in=min(waits, default=None),
        )

    def _run_step(
        self, name: str, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment
    ) -> Step:
        return self._runs[name].decide(wanted, [pod for pod in pods if pod.run == name], now)

    def status(self, wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
        return WorkloadStatus(
            name=wanted.name,
            kind=wanted.facts.kind,
            wanted=0,
            ready=0,
            restarts=sum(pod.restarts for pod in pods if not pod.ended),
            last_exit=self._last_exit,
        )

    def _seen_to(self, schedule: Schedule, now: Moment) -> datetime:
        """Another schedule counts from now: times it would have had before are nobody's loss."""
        given = (schedule.expression, schedule.timezone)
        if self._since is None or given != self._schedule:
            self._schedule, self._since = given, now.wall
        return self._since

    def _start_due(self, schedule: Schedule, since: datetime, now: Moment) -> None:
        """Of several times that were missed, the last counts."""
        if schedule.suspended:
            return
        due = latest_due(schedule, since, now.wall)
        if due is None:
            return
        deadline = schedule.starting_deadline
        if deadline is not None and now.wall - due > timedelta(seconds=deadline):
            self._since = due
            return
        active = [name for name, run in self._runs.items() if not run.finished]
        if active and schedule.concurrency == "Forbid":
            return  # and it begins when that one has ended, unless it is too late then
        if schedule.concurrency == "Replace":
            for name in active:
                del self._runs[name]
        self._since = due
        name = str(int(due.timestamp()) // 60)
        self._runs[name] = JobRun(name)

    def _forget(self, schedule: Schedule) -> None:
        finished = [(name, run) for name, run in self._runs.items() if run.finished]
        done = [name for name, run in finished if run.done]
        failed = [name for name, run in finished if not run.done]
        done = done[: max(0, len(done) - schedule.successful_history)]
        failed = failed[: max(0, len(failed) - schedule.failed_history)]
        for name in (*done, *failed):
            del self._runs[name]
