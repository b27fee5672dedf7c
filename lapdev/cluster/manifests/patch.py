"""A branch's change to a workload, applied to the production manifest."""

from __future__ import annotations

import copy
from typing import Any

from lapdev.cluster.manifests.command import COMMAND_ANNOTATION
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.template import pod_template_of
from lapdev.cluster.manifests.workload_parts import parse_workload

CHANGEABLE = ("image", "env", "command", "args", "annotations")


def merge_patch(manifest: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A new manifest: the given one with the changes of `patch`, everything else kept.

    `patch` maps a container's name to any of image, command, args, env (NAME → value, null removes
    the variable; or the list form of Kubernetes) and annotations (of the pod template). A changed
    command also takes the place of an annotated local command.

    Raises:
        ConfigError: the manifest runs no pods, or the patch names something it does not have.
    """
    workload = parse_workload(manifest)
    merged = copy.deepcopy(manifest)
    template = pod_template_of(merged)
    spec = template["spec"]
    containers = {
        item["name"]: item for item in (spec.get("initContainers") or []) + spec["containers"]
    }
    only = spec["containers"][0]["name"] if len(spec["containers"]) == 1 else ""
    root = Node(patch, f"patch of {workload.where}:")
    if not isinstance(patch, dict):
        root.wrong_type("a mapping")
    for name in root.mapping():
        change = root.child(name)
        if name not in containers:
            change.fail("there is no such container", f"containers are {', '.join(containers)}")
        _check_keys(change)
        _apply(containers[name], change)
        annotations = _annotation_changes(change, name, single=name == only)
        if annotations:
            _update(_inner(_inner(template, "metadata"), "annotations"), annotations)
    parse_workload(merged)
    return merged


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping at `key`, made where the manifest leaves it out."""
    if value.get(key) is None:
        value[key] = {}
    inner: dict[str, Any] = value[key]
    return inner


def _check_keys(change: Node) -> None:
    if not isinstance(change.value, dict):
        change.wrong_type("a mapping")
    for key in change.mapping():
        if key not in CHANGEABLE:
            change.child(key).fail("cannot be changed", f"change any of {', '.join(CHANGEABLE)}")


def _apply(container: dict[str, Any], change: Node) -> None:
    if change.child("image").value is not None:
        container["image"] = change.child("image").text()
    for key in ("command", "args"):
        if change.child(key).value is not None:
            container[key] = list(change.child(key).texts())
    entries = {item["name"]: item for item in container.get("env") or []}
    changes = _env_changes(change.child("env"))
    _update(entries, changes)
    if changes:
        container["env"] = list(entries.values())


def _env_changes(node: Node) -> dict[str, dict[str, Any] | None]:
    if isinstance(node.value, dict):
        return {
            name: None if value is None else {"name": name, "value": node.child(name).text()}
            for name, value in node.mapping().items()
        }
    return {item.child("name").text(): dict(item.mapping()) for item in node.items()}


def _annotation_changes(change: Node, container: str, *, single: bool) -> dict[str, str | None]:
    node = change.child("annotations")
    changes: dict[str, str | None] = {}
    if change.child("command").value is not None or change.child("args").value is not None:
        changes[f"{COMMAND_ANNOTATION}.{container}"] = None
        if single:
            changes[COMMAND_ANNOTATION] = None
    for name, value in node.mapping().items():
        changes[name] = None if value is None else node.child(name).text()
    return changes


def _update(known: dict[str, Any], changes: dict[str, Any]) -> None:
    """Each change set, and a None taken out; the order of what was there is kept."""
    for name, value in changes.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value
