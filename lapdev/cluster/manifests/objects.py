"""The objects of an environment, taken together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lapdev.cluster.manifests.config import ConfigObject, Configs, parse_config
from lapdev.cluster.manifests.ingress import IngressHost, ingress_hosts, parse_ingress
from lapdev.cluster.manifests.left_out import left_out, unread
from lapdev.cluster.manifests.node import Node, object_node
from lapdev.cluster.manifests.service import parse_service
from lapdev.cluster.manifests.template import WORKLOAD_KINDS
from lapdev.cluster.manifests.workload import Workload, WorkloadKind
from lapdev.cluster.manifests.workload_parts import parse_workload
from lapdev.errors import ConfigError
from lapdev.model import Service

Object = dict[str, Any]

LISTS_DEPTH = 4
OTHERS_SHOWN = 8
CLAIM_KIND = "PersistentVolumeClaim"
SUPPORTED_KINDS = (*WorkloadKind, "Service", "ConfigMap", "Secret", "Ingress", CLAIM_KIND, "List")

_INSTEAD = {
    "ReplicaSet": "write it as a Deployment",
    "ReplicationController": "write it as a Deployment (apps/v1)",
    "Endpoints": "let a Service with type: ExternalName name the host",
    "EndpointSlice": "let a Service with type: ExternalName name the host",
    "Kustomization": "give the output of `kubectl kustomize DIRECTORY`",
    "HTTPRoute": "write the paths as an Ingress",
}


@dataclass(frozen=True, slots=True)
class Manifests:
    workloads: tuple[Workload, ...]
    services: tuple[Service, ...]
    configs: tuple[ConfigObject, ...] = ()
    ingresses: tuple[IngressHost, ...] = ()
    ignored: tuple[str, ...] = ()
    """Objects that are accepted and do nothing here: `NetworkPolicy/deny`."""

    def configs_by_name(self) -> Configs:
        return {(item.kind, item.name): item for item in self.configs}


def parse_objects(objects: Iterable[Object]) -> Manifests:
    """What the objects say, each name once.

    Raises:
        ConfigError: names the object and the field, and says what to write instead.
    """
    kept, ignored = _sorted_out(objects)
    _refuse_namespaces(kept)
    for kind, item in kept:
        if kind == CLAIM_KIND:
            object_node(item, kind).child("metadata").child("name").object_name()
    workloads = [parse_workload(item) for kind, item in kept if kind in WORKLOAD_KINDS]
    services = {
        service.name: service
        for service in (parse_service(item) for kind, item in kept if kind == "Service")
    }
    configs = [
        *(parse_config(item, "ConfigMap") for kind, item in kept if kind == "ConfigMap"),
        *(parse_config(item, "Secret") for kind, item in kept if kind == "Secret"),
    ]
    rules = [
        rule for kind, item in kept if kind == "Ingress" for rule in parse_ingress(item, services)
    ]
    _refuse_repeated_names(kept)
    return Manifests(
        workloads=tuple(workloads),
        services=tuple(services.values()),
        configs=tuple(configs),
        ingresses=ingress_hosts(rules),
        ignored=(*ignored, *(part for kind, item in kept for part in unread(kind, item))),
    )


def _flatten(objects: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    for item in objects:
        if isinstance(item, dict) and item.get("kind") == "List":
            items = Node(item, "List:").child("items")
            if depth == LISTS_DEPTH:
                items.fail("has lists in lists in lists", "unpack them")
            yield from _flatten((node.value for node in items.items()), depth + 1)
        elif item is not None:  # an empty YAML document
            yield item


def _sorted_out(
    objects: Iterable[Any],
) -> tuple[list[tuple[str, Object]], tuple[str, ...]]:
    """What does something here, with its kind; and the others, as people are told of them."""
    found = [(_kind(item, place), item) for place, item in enumerate(_flatten(objects))]
    present = {object_node(item, kind).place for kind, item in found}
    kept: list[tuple[str, Object]] = []
    ignored: list[str] = []
    unknown: list[tuple[str, Object]] = []
    for kind, item in found:
        why = left_out(kind, item, present)
        if why:
            ignored.append(why)
        elif kind in SUPPORTED_KINDS:
            kept.append((kind, item))
        else:
            unknown.append((kind, item))
    if unknown:
        _refuse_kinds(unknown)
    return kept, tuple(ignored)


def _kind(item: Any, place: int) -> str:
    if not isinstance(item, dict):
        Node(item, f"object {place + 1}").wrong_type("a Kubernetes object (a mapping)")
    kind = item.get("kind")
    return kind[:60] if isinstance(kind, str) and kind else "object without kind"


def _refuse_kinds(unknown: Sequence[tuple[str, Object]]) -> NoReturn:
    """All of them at once: whoever has to take them out does it once."""
    kind, item = unknown[0]
    instead = _INSTEAD.get(kind, "leave other objects out")
    places = [object_node(other, name).place for name, other in unknown[1:]]
    others = f" (nor are those of {', '.join(places[:OTHERS_SHOWN])}" if places else ""
    if len(places) > OTHERS_SHOWN:
        others += f" and {len(places) - OTHERS_SHOWN} more"
    object_node(item, kind).fail(
        f"this kind is not supported{others + ')' if others else ''}",
        f"{instead}; supported kinds are {', '.join(SUPPORTED_KINDS)}",
    )


def _refuse_namespaces(kept: Iterable[tuple[str, Object]]) -> None:
    """All objects that name a namespace name the same."""
    first: Node | None = None
    for kind, item in kept:
        node = object_node(item, kind).child("metadata").child("namespace")
        if not node.text(""):
            continue
        first = first or node
        if node.value != first.value:
            node.fail(
                f"is {node.value!r:.80}, and {first.place} is {first.value!r:.80}: an environment"
                " is one namespace",
                "make an environment of each, or leave metadata.namespace out",
            )


def _refuse_repeated_names(kept: Iterable[tuple[str, Object]]) -> None:
    """An object is there once; so is a workload's name, whatever its kind."""
    seen: set[tuple[str, str]] = set()
    runs: dict[str, str] = {}
    for kind, item in kept:
        name = item["metadata"]["name"]
        if (kind, name) in seen:
            raise ConfigError(f"{kind}/{name}: is there twice", hint="keep one of the two")
        seen.add((kind, name))
        if kind in WORKLOAD_KINDS and runs.setdefault(name, kind) != kind:
            raise ConfigError(
                f"{kind}/{name}: {runs[name]}/{name} has the same name",
                hint="name one of the two differently: workloads of all kinds share their names"
                " here",
            )
