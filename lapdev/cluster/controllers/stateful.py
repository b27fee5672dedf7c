"""StatefulSets: pods with an ordinal and a name each, started upwards and changed downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lapdev.cluster.controllers.replicas import replicas_status
from lapdev.cluster.controllers.step import Moment, Seen, Start, Step
from lapdev.cluster.wanted import WantedWorkload
from lapdev.model import WorkloadStatus

Pods = dict[int, Seen]
"""Ordinal → pod, until it has ended."""


@dataclass(slots=True)
class StatefulController:
    """Remembers nothing: an ordinal is taken while its pod exists."""

    def ended(self, pod: Seen, now: Moment) -> None:
        return

    def decide(self, wanted: WantedWorkload, pods: Sequence[Seen], now: Moment) -> Step:
        there = {pod.ordinal: pod for pod in pods if pod.ordinal is not None}
        start, obstacle = _grow(wanted, there)
        old = [
            pod
            for ordinal, pod in sorted(there.items(), reverse=True)
            if ordinal < wanted.facts.replicas and pod.digest != wanted.digest and not pod.stopping
        ]
        # A pod that serves nobody must not hold up its own correction.
        stop = [pod.name for pod in old if not pod.useful]
        if old and not (stop or start or obstacle):
            stop = [old[0].name]
            obstacle = f"waiting for {old[0].name} to end"
        return Step(start, (*stop, *_shrink(wanted, there)), detail=obstacle)

    def status(self, wanted: WantedWorkload, pods: Sequence[Seen], detail: str) -> WorkloadStatus:
        return replicas_status(wanted, pods, detail)


def _grow(wanted: WantedWorkload, pods: Pods) -> tuple[tuple[Start, ...], str]:
    """Which pods to start now, and the first thing that is not as it should be."""
    start: list[Start] = []
    obstacle = ""
    for ordinal in range(wanted.facts.replicas):
        pod = pods.get(ordinal)
        if pod is None:
            start.append(Start(ordinal))
        elif pod.stopping:
            obstacle = obstacle or f"waiting for {pod.name} to end"
        elif not pod.useful:
            why = f": {pod.why}" if pod.why else ""
            obstacle = obstacle or f"waiting for {pod.name} to be ready{why}"
        if wanted.facts.ordered and (start or obstacle):
            break
    return tuple(start), obstacle


def _shrink(wanted: WantedWorkload, pods: Pods) -> list[str]:
    """From the highest, one after the other unless the set is not ordered."""
    surplus = [pods[ordinal] for ordinal in sorted(pods, reverse=True)]
    surplus = surplus[: sum(ordinal >= wanted.facts.replicas for ordinal in pods)]
    if wanted.facts.ordered:
        surplus = surplus[:1]
    return [pod.name for pod in surplus if not pod.stopping]
