"""A container's variables, read from its manifest: `env` and `envFrom`."""

from __future__ import annotations

import re

from lapdev.cluster.manifests.config import ConfigKind
from lapdev.cluster.manifests.container import ConfigKey, EnvFrom, EnvVar
from lapdev.cluster.manifests.environment import known_field
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.resources import parse_resource_field

# Printable ASCII without "=", as in Kubernetes.
_NAME = re.compile(r"[ -<>-~]{1,512}")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_KEY_KINDS: dict[str, ConfigKind] = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}
_FROM_KINDS: dict[str, ConfigKind] = {"configMapRef": "ConfigMap", "secretRef": "Secret"}


def parse_env(node: Node) -> tuple[EnvVar, ...]:
    return tuple(_variable(item) for item in node.items())


def _variable(node: Node) -> EnvVar:
    name = node.child("name").text()
    if not _NAME.fullmatch(name):
        node.child("name").fail(
            f"{name!r:.80} is not a variable's name", "use letters, digits and '_', and no '='"
        )
    source = node.child("valueFrom")
    if not source.present:
        return EnvVar(name, node.child("value").text(""))
    if node.child("value").text(""):
        node.fail(f"{name} has both value and valueFrom", "keep one of the two")
    kind = source.one_of(_SOURCES, "source")
    reference = source.child(kind)
    if kind == "fieldRef":
        path = reference.child("fieldPath")
        if not known_field(path.text()):
            path.fail(
                f"{name} refers to field {path.value!r:.80}, which is not supported",
                "use metadata.name, metadata.namespace, status.podIP or status.hostIP",
            )
        return EnvVar(name, field_path=path.value)
    if kind == "resourceFieldRef":
        return EnvVar(name, resource=parse_resource_field(reference))
    if kind in _KEY_KINDS:
        key = ConfigKey(
            kind=_KEY_KINDS[kind],
            name=reference.child("name").object_name(),
            key=reference.child("key").config_key(),
            optional=reference.child("optional").flag(),
        )
        return EnvVar(name, key=key)
    source.fail(
        f"the value of {name} comes from {', '.join(source.mapping())[:80] or 'nowhere'}",
        f"write a plain value, or one of: {', '.join(_SOURCES[:-1])}",
    )


def parse_env_from(node: Node) -> tuple[EnvFrom, ...]:
    return tuple(_all_entries(item) for item in node.items())


def _all_entries(node: Node) -> EnvFrom:
    kind = node.one_of(tuple(_FROM_KINDS), "source")
    if not kind:
        node.fail("names no source", "write configMapRef or secretRef")
    reference = node.child(kind)
    return EnvFrom(
        kind=_FROM_KINDS[kind],
        name=reference.child("name").object_name(),
        prefix=node.child("prefix").text(""),
        optional=reference.child("optional").flag(),
    )
