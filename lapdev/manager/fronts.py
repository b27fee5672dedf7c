"""Which Services lead to which workloads of an environment, and where sidecars stand between. Pure.

- Before a workload behind an ordinary Service stands a sidecar. A headless Service means its pods'
  own addresses, an ExternalName another host: nothing stands before those.
- A Service whose labels fit workloads that go on and Jobs leads to the ones that go on: a
  migration with its app's labels is not sent requests while it runs.
- A Service that targets a port by name leads to the workloads that have it, where some have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lapdev.manager.workloads import RUNS_LABEL, Workload
from lapdev.model import Service

SERVES_LABEL_PREFIX = "serves.lapdev.dev/"


@dataclass(slots=True)
class Fronts:
    """The Services of an environment and what is behind each."""

    behind: dict[str, list[Workload]] = field(default_factory=dict)
    """Service → the workloads it leads to."""
    before: dict[str, list[Service]] = field(default_factory=dict)
    """Workload → the Services its sidecars stand for."""
    selectors: dict[str, dict[str, str]] = field(default_factory=dict)
    """Service → what its selector asks for besides its own labels."""
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    """Workload → labels of its pods that `selectors` ask for."""


def find_fronts(services: Iterable[Service], workloads: Iterable[Workload]) -> Fronts:
    """Who is behind whom."""
    fronts, known = Fronts(), list(workloads)
    for service in services:
        found = [w for w in known if service.selects(w.facts.pod.labels)]
        found = _those_that_go_on(fronts, service, found)
        if not service.headless:
            found = _those_with_the_ports(fronts, service, found)
            for workload in found:
                fronts.before.setdefault(workload.name, []).append(service)
        fronts.behind[service.name] = found
    return fronts


def _those_that_go_on(fronts: Fronts, service: Service, found: list[Workload]) -> list[Workload]:
    going_on = [workload for workload in found if not workload.runs_once]
    if going_on:
        # Asked for where there is no Job, too: one that is added changes no Service.
        fronts.selectors.setdefault(service.name, {})[RUNS_LABEL] = "on"
    return going_on or found


def _those_with_the_ports(
    fronts: Fronts, service: Service, found: list[Workload]
) -> list[Workload]:
    having = [
        workload
        for workload in found
        if all(workload.facts.pod.port_named(port.target) is not None for port in service.ports)
    ]
    if not having or len(having) == len(found):
        return found
    mark = {f"{SERVES_LABEL_PREFIX}{service.name}": "yes"}
    fronts.selectors.setdefault(service.name, {}).update(mark)
    for workload in having:
        fronts.marks.setdefault(workload.name, {}).update(mark)
    return having
