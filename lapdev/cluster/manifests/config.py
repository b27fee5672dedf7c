"""ConfigMaps and Secrets: what they hold, and which of them a pod refers to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lapdev.cluster.manifests.node import Node, object_node
from lapdev.errors import ConfigError

ConfigKind = Literal["ConfigMap", "Secret"]


@dataclass(frozen=True, slots=True)
class ConfigObject:
    kind: ConfigKind
    name: str
    data: dict[str, bytes] = field(default_factory=dict, repr=False)
    """`data` and `binaryData`; a Secret's `stringData` too."""


Configs = Mapping[tuple[ConfigKind, str], ConfigObject]
"""(kind, name) → object."""


def parse_config(item: dict[str, Any], kind: ConfigKind) -> ConfigObject:
    """The ConfigMap or Secret that a Kubernetes object describes; no complaint tells a value."""
    root = object_node(item, kind)
    name = root.child("metadata").child("name").object_name()
    if kind == "Secret":
        data = _binary(root.child("data")) | _plain(root.child("stringData"))
        return ConfigObject(kind, name, data)
    plain, binary = _plain(root.child("data")), _binary(root.child("binaryData"))
    for key in plain.keys() & binary.keys():
        root.child("binaryData").child(key).fail("is in data already", "keep one of the two")
    return ConfigObject(kind, name, plain | binary)


def _plain(node: Node) -> dict[str, bytes]:
    return {key: value.text("").encode() for key, value in _entries(node)}


def _binary(node: Node) -> dict[str, bytes]:
    return {key: _decoded(value) for key, value in _entries(node)}


def _entries(node: Node) -> list[tuple[str, Node]]:
    return [(Node(key, node.where).config_key(), node.child(key)) for key in node.mapping()]


def _decoded(node: Node) -> bytes:
    # Line breaks inside are fine, as in Kubernetes.
    text = "".join(node.text("").split())
    try:
        return base64.b64decode(text.encode(), validate=True)
    except binascii.Error:
        node.fail("is not base64", "encode the value with base64, or write it under stringData")


# References


@dataclass(frozen=True, slots=True)
class Reference:
    """A pod's wish for a ConfigMap or Secret."""

    where: str
    kind: ConfigKind
    name: str
    keys: tuple[str, ...] = ()
    """Empty: the whole object."""
    optional: bool = False


def find_config(reference: Reference, configs: Configs) -> ConfigObject | None:
    """The object referred to, with every key asked for; None where it may be missing and is.

    An optional reference to an object that lacks a key gives the object: the key is left out.

    Raises:
        ConfigError: it has to be there and is not; names object and key.
    """
    found = configs.get((reference.kind, reference.name))
    called = f"{reference.kind}/{reference.name}"
    if found is None:
        if reference.optional:
            return None
        names = ", ".join(sorted(name for kind, name in configs if kind == reference.kind))
        raise ConfigError(
            f"{reference.where}: refers to {called}, which is not there",
            hint=f"add the {reference.kind}, or mark the reference `optional: true`"
            + (f" (there are: {names})" if names else ""),
        )
    missing = [key for key in reference.keys if key not in found.data]
    if missing and not reference.optional:
        raise ConfigError(
            f"{reference.where}: {called} has no key {missing[0]!r}",
            hint=f"its keys are: {', '.join(sorted(found.data)) or 'none'}",
        )
    return found
