"""Rolling changes: from the pods a workload has to the pods it should have, step by step.

New pods come up before old ones go: at most one more than wanted runs during a change, and a
ready old pod stays until a ready new one takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SURGE = 1


class PodView(Protocol):
    """What the decision looks at."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Change:
    start: int
    """How many pods to start."""
    stop: tuple[str, ...]
    """Names of pods to stop."""


def next_step(replicas: int, digest: str, pods: Sequence[PodView]) -> Change:
    """What to do now; to be asked again after every change. `pods` are those not yet stopping."""
    new = [pod for pod in pods if pod.digest == digest]
    old = [pod for pod in pods if pod.digest != digest]
    stop = [pod.name for pod in _least_useful(new)[: max(0, len(new) - replicas)]]
    ready = sum(pod.ready for pod in new)
    # An old pod that serves nobody is not worth keeping once a new one is on its way.
    useless = [pod for pod in old if not pod.ready and (new or not replicas)]
    serving = [pod for pod in old if pod not in useless]
    surplus = serving[: max(0, len(serving) - max(0, replicas - ready))]
    stop += [pod.name for pod in (*useless, *surplus)]
    kept_old = len(old) - len(useless) - len(surplus)
    room = replicas + (SURGE if kept_old else 0) - len(new) - kept_old
    start = max(0, min(replicas - len(new), room))
    return Change(start, tuple(stop))


def _least_useful(pods: Sequence[PodView]) -> list[PodView]:
    return sorted(pods, key=lambda pod: pod.ready)
