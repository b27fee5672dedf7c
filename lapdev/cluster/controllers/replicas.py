"""Workloads whose pods are all alike: Deployments, DaemonSets, and bare Pods.

A pod that has ended by itself stays so until its workload changes: only pods whose containers are
not started again ever do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lapdev.cluster.controllers.rollout import next_step
from lapdev.cluster.controllers.step import Moment, Outcome, Seen, Start, Step
from lapdev.cluster.manifests import Strategy, WorkloadKind
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus


@dataclass(slots=True)
class ReplicasController:
    """Remembers nothing: its pods say it all."""

    def ended(self, pod: Seen, now: Moment) -> None:
        return

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        if _strategy(wanted) is Strategy.ROLLING:
            return _roll(wanted, pods)
        return _recreate(wanted, pods)

    def status(self, wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
        return replicas_status(wanted, pods, detail)


def _strategy(wanted: WantedWorkload) -> Strategy:
    # These two never have two pods at a time: a node has one, a bare Pod's name is its own.
    alone = wanted.facts.kind in (WorkloadKind.DAEMON_SET, WorkloadKind.POD)
    if alone and wanted.facts.strategy is Strategy.ROLLING:
        return Strategy.RECREATE
    return wanted.facts.strategy


@dataclass(slots=True)
class _Useful:
    """A pod as the rollout sees it: what has done its work counts as serving."""

    name: str
    digest: str
    ready: bool


def _roll(wanted: WantedWorkload, pods: Sequence[Seen]) -> Step:
    there = [_Useful(pod.name, pod.digest, pod.useful) for pod in pods if not pod.stopping]
    change = next_step(wanted.facts.replicas, wanted.digest, there)
    return Step((Start(),) * change.start, change.stop)


def _recreate(wanted: WantedWorkload, pods: Sequence[Seen]) -> Step:
    """Old pods have ended before new ones start, but for those that can change as they are."""
    there = [pod for pod in pods if not pod.stopping]
    new = [pod for pod in there if pod.digest == wanted.digest]
    old = [pod for pod in there if pod.digest != wanted.digest]
    update: list[str] = []
    if wanted.facts.strategy is Strategy.IN_PLACE:
        update = [pod.name for pod in old if pod.updatable and not pod.ended]
    kept = sorted([*new, *(pod for pod in old if pod.name in update)], key=lambda pod: pod.useful)
    surplus = [pod.name for pod in kept[: max(0, len(kept) - wanted.facts.replicas)]]
    stop = [pod.name for pod in old if pod.name not in update] + surplus
    update = [name for name in update if name not in surplus]
    missing = wanted.facts.replicas - (len(kept) - len(surplus))
    ending = [pod.name for pod in pods if not pod.ended and (pod.stopping or pod.name in stop)]
    if ending:
        detail = f"waiting for {ending[0]} to end" if missing > 0 else ""
        return Step(stop=tuple(stop), update=tuple(update), detail=detail)
    return Step((Start(),) * max(0, missing), tuple(stop), tuple(update))


def replicas_status(wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
    """Of workloads that keep a number of pods."""
    new = [pod for pod in pods if pod.digest == wanted.digest and not pod.stopping]
    failed = [pod for pod in new if pod.outcome is Outcome.FAILED]
    waiting = (pod.why for pod in new if not pod.useful and pod.why)
    return WorkloadStatus(
        name=wanted.name,
        kind=wanted.facts.kind,
        wanted=wanted.facts.replicas,
        ready=sum(pod.useful for pod in new),
        succeeded=sum(pod.outcome is Outcome.SUCCEEDED for pod in new),
        restarts=sum(pod.restarts for pod in new),
        failed=f"{failed[0].name} failed: {failed[0].last_exit}" if failed else "",
        last_exit=next((pod.last_exit for pod in reversed(new) if pod.last_exit), ""),
        detail=next(waiting, detail),
    )
