"""One workload's pods on this machine, kept as its controller says."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lapdev.cluster.controllers import (
    Controller,
    DoneJob,
    JobController,
    Moment,
    Outcome,
    Seen,
    Start,
    controller_for,
    pod_workload,
)
from lapdev.cluster.local_pods import Ground
from lapdev.cluster.manifests import Strategy
from lapdev.cluster.pod import Pod, PodPhase
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError
from lapdev.log import get_logger
from lapdev.model import WorkloadStatus

LOST_POD_PAUSE = 5.0
"""Before a pod is started in place of one that ended for no reason we know. Seconds."""


@dataclass(slots=True, eq=False)
class _Held:
    pod: Pod
    start: Start
    task: asyncio.Task[None] | None = None
    outcome: Outcome = Outcome.NONE

    @property
    def ended(self) -> bool:
        return self.outcome is not Outcome.NONE


class LocalWorkload:
    """Takes one step towards what is wanted whenever it is told to look."""

    def __init__(self, name: str, ground: Ground) -> None:
        self.name = name
        self.wanted: WantedWorkload | None = None
        self.status: WorkloadStatus | None = None
        """As of the last step; None when it is no longer wanted."""
        self._ground = ground
        self._controller: Controller | None = None
        self._kind = ""
        self._held: dict[str, _Held] = {}
        """Oldest first: pods that have not ended, and those that ended by themselves."""
        self._replaced: Pod | None = None
        """The last pod that was stopped, for what it printed: as much as is in memory."""
        self._timer: asyncio.TimerHandle | None = None
        self._detail = ""
        self._resume_at = 0.0

    # Questions

    @property
    def pods(self) -> list[Pod]:
        """Those that have not ended."""
        return [held.pod for held in self._held.values() if not held.ended]

    @property
    def readable(self) -> list[Pod]:
        """Whose lines are still known, ended ones too; oldest first."""
        last = [self._replaced] if self._replaced else []
        return [*last, *(held.pod for held in self._held.values())]

    @property
    def empty(self) -> bool:
        return not self._held

    @property
    def running(self) -> list[asyncio.Task[None]]:
        """One for each pod that has not ended: it ends with the pod."""
        return [held.task for held in self._held.values() if held.task and not held.ended]

    def facts(self) -> object:
        """Whoever listens hears of it when this has changed."""
        return self.status, [(pod.name, pod.ready) for pod in self.pods]

    # Becoming what is wanted

    def want(self, wanted: WantedWorkload | None, done: DoneJob | None = None) -> None:
        """The status is of this wish at once; `step` goes towards it.

        `done` is what an earlier process did of it.
        """
        self.wanted = wanted
        if wanted is None:
            # If it is wanted again, it begins anew.
            self._controller = None
            self._forget_ended()
        elif self._controller is None:
            self._kind, self._controller = wanted.facts.kind, controller_for(wanted.facts.kind)
            if done is not None and isinstance(self._controller, JobController):
                self._controller.resume(done)
        self._detail = ""
        self._set_status()

    def request_stop(self, grace_limit: float | None = None) -> None:
        """Every pod is ending."""
        for pod in self.pods:
            if not pod.stopping:
                pod.request_stop(grace_limit)

    def step(self) -> None:
        self._clear_timer()
        if self.wanted is None or self.wanted.facts.kind != self._kind:
            self._leave()
        if self.wanted is not None and self.wanted.facts.kind == self._kind:
            self._follow_controller(self.wanted)
        self._set_status()

    def close(self) -> None:
        """No step is taken any more by itself, and what ended pods printed is gone."""
        self._clear_timer()
        self._forget_ended()
        self._replaced = None

    def _leave(self) -> None:
        """Nothing stays of what is not wanted, nor of another kind under the same name."""
        self.request_stop()
        self._forget_ended()
        if self._held:
            self._detail = f"waiting for {next(iter(self._held))} to end"
            return
        self._replaced = None
        if self.wanted is not None:
            self._kind = self.wanted.facts.kind
            self._controller = controller_for(self.wanted.facts.kind)

    def _follow_controller(self, wanted: WantedWorkload) -> None:
        assert self._controller is not None
        now = _moment()
        step = self._controller.decide(wanted, self._seen(wanted), now)
        self._detail = step.detail
        if isinstance(self._controller, JobController) and self._controller.done is not None:
            self._ground.done_jobs.note(self.name, self._controller.done)
        for name in step.stop:
            self._stop(self._held[name])
        for name in step.update:
            held = self._held[name]
            held.pod.update(pod_workload(wanted, held.start, name))
        again_in = step.again_in
        if step.start and now.seconds < self._resume_at:
            again_in = min(again_in or LOST_POD_PAUSE, self._resume_at - now.seconds)
        else:
            self._start_all(wanted, step.start)
        if step.stop or step.update:
            self._ground.touch(self.name)
        if again_in is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(again_in, self._ground.touch, self.name)

    def _start_all(self, wanted: WantedWorkload, starts: Iterable[Start]) -> None:
        for start in starts:
            try:
                pod = self._ground.make_pod(wanted, start)
            except ClusterError as exc:
                problem = f"{exc}: {exc.hint}" if exc.hint else str(exc)
                if problem != self._detail:
                    get_logger().error("pod_failed", target=self.name, error=problem)
                self._detail = problem
                return
            held = self._held[pod.name] = _Held(pod, start)
            held.task = self._ground.tasks.spawn(self._run(held), f"pod:{pod.name}")

    def _stop(self, held: _Held) -> None:
        if held.ended:
            self._forget(held)
        elif not held.pod.stopping:
            held.pod.request_stop()

    async def _run(self, held: _Held) -> None:
        pod = held.pod
        try:
            await pod.run()
        finally:
            try:
                await self._ground.release(pod)
            finally:
                self._note_end(held)
                self._ground.touch(self.name)

    def _note_end(self, held: _Held) -> None:
        pod = held.pod
        if not pod.stopping:
            outcomes = {PodPhase.SUCCEEDED: Outcome.SUCCEEDED, PodPhase.FAILED: Outcome.FAILED}
            held.outcome = outcomes.get(pod.phase, Outcome.NONE)
        if self._controller is not None:
            self._controller.ended(self._see(held), _moment())
        if held.ended:
            return
        del self._held[pod.name]
        self._replaced = pod if self.wanted is not None else None
        if not pod.stopping:
            self._resume_at = _moment().seconds + LOST_POD_PAUSE

    # What controllers see

    def _seen(self, wanted: WantedWorkload) -> list[Seen]:
        in_place = wanted.facts.strategy is Strategy.IN_PLACE
        seen = []
        for held in self._held.values():
            pod = self._see(held)
            if in_place and pod.digest != wanted.digest and not held.ended:
                new = pod_workload(wanted, held.start, pod.name)
                pod.updatable = held.pod.can_update(new)
            seen.append(pod)
        return seen

    def _see(self, held: _Held) -> Seen:
        pod = held.pod
        return Seen(
            name=pod.name,
            digest=pod.digest,
            ready=pod.ready and not held.ended,
            stopping=pod.stopping,
            outcome=held.outcome,
            ordinal=held.start.ordinal,
            run=held.start.run,
            restarts=pod.restarts,
            why=pod.why_not_ready(),
            last_exit=pod.last_exit,
        )

    def _set_status(self) -> None:
        self.status = None
        if self.wanted is not None:
            # Of another kind, pods say nothing about this one.
            same = self.wanted.facts.kind == self._kind and self._controller is not None
            controller = self._controller if same else controller_for(self.wanted.facts.kind)
            assert controller is not None
            seen = [self._see(held) for held in self._held.values()] if same else []
            status = controller.status(self.wanted, seen, self._detail)
            running = [pod for pod in self.pods if not pod.stopping and pod.finished_at is None]
            states = tuple(state for pod in running for state in pod.container_states())
            self.status = dataclasses.replace(status, containers=states)

    # What is kept of pods that are gone

    def _forget(self, held: _Held) -> None:
        del self._held[held.pod.name]
        self._ground.forget(held.pod)

    def _forget_ended(self) -> None:
        for held in [held for held in self._held.values() if held.ended]:
            self._forget(held)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _moment() -> Moment:
    return Moment(asyncio.get_running_loop().time(), datetime.now(UTC))
