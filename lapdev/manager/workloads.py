"""A workload's manifest on its way to the driver: read, renamed, marked. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from lapdev.cluster.manifests import Workload as WorkloadFacts
from lapdev.cluster.manifests import WorkloadKind, parse_objects
from lapdev.model import Environment, EnvironmentId

ENVIRONMENT_LABEL = "lapdev.dev/environment"
WORKLOAD_LABEL = "lapdev.dev/workload"
NAME_OCTETS = 63
HASH_DIGITS = 10
KINDS = frozenset(WorkloadKind)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as written, and what it says."""

    facts: WorkloadFacts
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.facts.name


def read_workloads(environment: Environment) -> list[Workload]:
    """What runs pods among the environment's objects. Raises ConfigError as `parse_objects`."""
    parsed = {facts.name: facts for facts in parse_objects(environment.manifests).workloads}
    return [
        Workload(parsed[item["metadata"]["name"]], item)
        for item in _flat(environment.manifests)
        if item["kind"] in KINDS
    ]


def _flat(objects: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects `parse_objects` has accepted, those inside a List too."""
    for item in objects:
        if item is None:  # an empty YAML document
            continue
        if item["kind"] == "List":
            yield from _flat(item.get("items") or ())
        else:
            yield item


def labelled(manifest: dict[str, Any], name: str, environment: EnvironmentId) -> dict[str, Any]:
    """A copy of the workload called `name`, its pods marked as the environment's."""
    marked = copy.deepcopy(manifest)
    marked["metadata"]["name"] = name
    marks = {ENVIRONMENT_LABEL: environment, WORKLOAD_LABEL: name}
    _inner(marked["spec"], "selector", "matchLabels").update(marks)
    _inner(marked["spec"]["template"], "metadata", "labels").update(marks)
    return marked


def _inner(value: dict[str, Any], *path: str) -> dict[str, Any]:
    """The mapping at `path`, made where the manifest leaves it out."""
    for key in path:
        if value.get(key) is None:
            value[key] = {}
        value = value[key]
    return value


def suffixed(name: str, *seed: str) -> str:
    """`<name>-<hash of the seed and name>`, cut to 63 octets. The same seed gives the same name."""
    tail = sha256("/".join((*seed, name)).encode()).hexdigest()[:HASH_DIGITS]
    return f"{name[: NAME_OCTETS - HASH_DIGITS - 1].rstrip('-.')}-{tail}"


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a Service with this selector has a pod with these labels behind it."""
    return bool(selector) and selector.items() <= labels.items()
