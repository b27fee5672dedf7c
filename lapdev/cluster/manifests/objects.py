"""The objects of an environment, taken together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from lapdev.cluster.manifests.config import ConfigObject, Configs
from lapdev.cluster.manifests.ingress import IngressHost
from lapdev.cluster.manifests.node import Node, object_node
from lapdev.cluster.manifests.service import parse_service
from lapdev.cluster.manifests.workload import Workload, parse_workload
from lapdev.errors import ConfigError
from lapdev.model import Service

T = TypeVar("T")

SUPPORTED_KINDS = ("Deployment", "Service", "List")

IGNORED_KINDS = frozenset(
    {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    | {"NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "PriorityClass"}
    | {"StorageClass", "PersistentVolume", "LimitRange", "ResourceQuota", "IngressClass"}
)
"""Kinds about a cluster's rules and means, which pods on one machine run without."""


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


def parse_objects(objects: Iterable[dict[str, Any]]) -> Manifests:
    """What the objects say, each name once.

    Raises:
        ConfigError: names the object and the field, and says what to write instead.
    """
    workloads: dict[str, Workload] = {}
    services: dict[str, Service] = {}
    ignored: list[str] = []
    for place, item in enumerate(_flatten(objects)):
        kind = _kind(item, place)
        if kind in IGNORED_KINDS:
            ignored.append(object_node(item, kind).where.removesuffix(":"))
        elif kind == "Deployment":
            workload = parse_workload(item)
            _add(workloads, workload.name, workload, kind)
        else:
            service = parse_service(item)
            _add(services, service.name, service, kind)
    return Manifests(tuple(workloads.values()), tuple(services.values()), ignored=tuple(ignored))


def _flatten(objects: Iterable[Any]) -> Iterable[Any]:
    for item in objects:
        if isinstance(item, dict) and item.get("kind") == "List":
            yield from _flatten(Node(item, "List:").child("items").value or ())
        elif item is not None:  # an empty YAML document
            yield item


def _kind(item: Any, place: int) -> str:
    if not isinstance(item, dict):
        Node(item, f"object {place + 1}").wrong_type("a Kubernetes object (a mapping)")
    kind = item.get("kind")
    if kind not in IGNORED_KINDS and kind not in ("Deployment", "Service"):
        object_node(item, str(kind or "object without kind")).fail(
            "this kind is not supported",
            f"supported kinds are {', '.join(SUPPORTED_KINDS)}; leave other objects out",
        )
    return str(kind)


def _add(known: dict[str, T], name: str, item: T, kind: str) -> None:
    if name in known:
        raise ConfigError(f"{kind}/{name}: is there twice", hint="keep one of the two")
    known[name] = item
