"""A workload's manifest on its way to the driver: read, renamed, marked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from lapdev.cluster.manifests import WORKLOAD_KINDS, Manifests, WorkloadKind, parse_objects
from lapdev.cluster.manifests import Workload as WorkloadFacts
from lapdev.cluster.manifests.template import template_path
from lapdev.model import Environment, EnvironmentId

ENVIRONMENT_LABEL = "lapdev.dev/environment"
WORKLOAD_LABEL = "lapdev.dev/workload"
RUNS_LABEL = "lapdev.dev/runs"
"""`on`: its pods serve until they are stopped. `once`: they end by themselves."""
NAME_OCTETS = 63
HASH_DIGITS = 10
_TO_THE_END = frozenset({WorkloadKind.JOB, WorkloadKind.CRON_JOB})
_SELECTORS = {WorkloadKind.CRON_JOB: ("spec", "jobTemplate", "spec", "selector")}


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as written, and what it says."""

    facts: WorkloadFacts
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def runs_once(self) -> bool:
        """A Job or CronJob: its pods end by themselves."""
        return self.facts.kind in _TO_THE_END


@dataclass(frozen=True, slots=True)
class Objects:
    """An environment's objects, read."""

    manifests: Manifests
    workloads: tuple[Workload, ...]


def read_objects(environment: Environment) -> Objects:
    """What the environment's objects say. Raises ConfigError as `parse_objects`."""
    manifests = parse_objects(environment.manifests)
    written = {
        (item["kind"], item["metadata"]["name"]): item
        for item in _flat(environment.manifests)
        if item["kind"] in WORKLOAD_KINDS
    }
    workloads = (Workload(facts, written[facts.kind, facts.name]) for facts in manifests.workloads)
    return Objects(manifests, tuple(workloads))


def _flat(objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects `parse_objects` has accepted, those inside a List too."""
    for item in objects:
        if item is None:  # an empty YAML document
            continue
        if item["kind"] == "List":
            yield from _flat(item.get("items") or ())
        else:
            yield item


def labelled(
    workload: Workload,
    name: str,
    environment: EnvironmentId,
    marks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The workload's manifest under `name`, its pods marked as the environment's, and with `marks`.

    A new object down to what differs; the rest is shared with the workload's own manifest.
    """
    kind = workload.facts.kind
    identity = {ENVIRONMENT_LABEL: environment, WORKLOAD_LABEL: name}
    labels = {**identity, RUNS_LABEL: "once" if workload.runs_once else "on", **(marks or {})}
    marked = _set(workload.manifest, ("metadata",), {"name": name})
    marked = _set(marked, (*template_path(kind), "metadata", "labels"), labels)
    selector = _SELECTORS.get(kind, ("spec", "selector"))
    # A Job has a selector of its own only where it asks for one; a bare Pod has none.
    if kind is not WorkloadKind.POD and (not workload.runs_once or _at(marked, selector)):
        marked = _set(marked, (*selector, "matchLabels"), identity)
    return marked


def _at(value: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path`; None where the manifest leaves it out."""
    for key in path:
        value = (value or {}).get(key)
    return value


def _set(
    value: dict[str, Any] | None, path: tuple[str, ...], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy with `changes` in the mapping at `path`, made where the manifest leaves it out."""
    found = value or {}
    if not path:
        return {**found, **changes}
    return {**found, path[0]: _set(found.get(path[0]), path[1:], changes)}


def suffixed(name: str, *seed: str) -> str:
    """`<name>-<hash of the seed and name>`, cut to 63 octets. The same seed gives the same name."""
    tail = sha256("/".join((*seed, name)).encode()).hexdigest()[:HASH_DIGITS]
    return f"{name[: NAME_OCTETS - HASH_DIGITS - 1].rstrip('-.')}-{tail}"
