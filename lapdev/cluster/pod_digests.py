"""What of a pod can change, as digests: equal digests mean that nothing did.

A container's own digest and that of everything else are kept apart, for workloads whose pods are
updated in place. What a pod refers to in ConfigMaps and Secrets counts by its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lapdev.cluster.manifests import (
    Configs,
    Container,
    PodTemplate,
    Reference,
    container_references,
    pod_template_of,
    volume_references,
)
from lapdev.cluster.manifests.command import COMMAND_ANNOTATION


@dataclass(frozen=True, slots=True)
class PodDigests:
    whole: str
    pod: str
    """Everything but the containers."""
    containers: dict[str, str]
    """By name, init containers too."""


def pod_digests(
    manifest: dict[str, Any], pod: PodTemplate, configs: Configs, sidecar: object
) -> PodDigests:
    """The digests of the pods that `manifest`, read as `pod`, describes.

    Neither replicas, nor a schedule, nor the workload's own name and labels are part of them.
    """
    template = pod_template_of(manifest)
    spec, metadata = template["spec"], template.get("metadata") or {}
    written = {
        item["name"]: item for item in (spec.get("initContainers") or []) + spec["containers"]
    }
    containers = {
        container.name: _digest(
            written[container.name],
            _annotated_command(container, pod),
            [repr(variable.resource) for variable in container.env if variable.resource],
            _contents(_container_references(container, pod), configs),
        )
        for container in pod.all_containers()
    }
    mounted = {mount.volume for container in pod.all_containers() for mount in container.mounts}
    unmounted = [volume for volume in pod.volumes if volume.name not in mounted]
    around = _digest(
        {name: value for name, value in spec.items() if name not in _CONTAINERS},
        metadata.get("labels") or {},
        {name: text for name, text in pod.annotations.items() if not _is_command(name)},
        [volume.name for volume in pod.volumes],
        _contents((r for volume in unmounted for r in volume_references(volume)), configs),
        sidecar,
    )
    order = [[c.name for c in pod.init_containers], [c.name for c in pod.containers]]
    return PodDigests(_digest(around, containers, order), around, containers)


_CONTAINERS = ("containers", "initContainers")


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_command(annotation: str) -> bool:
    return annotation == COMMAND_ANNOTATION or annotation.startswith(f"{COMMAND_ANNOTATION}.")


def _annotated_command(container: Container, pod: PodTemplate) -> list[str | None]:
    alone = [only.name for only in pod.containers] == [container.name]
    return [
        pod.annotations.get(f"{COMMAND_ANNOTATION}.{container.name}"),
        pod.annotations.get(COMMAND_ANNOTATION) if alone else None,
    ]


def _container_references(container: Container, pod: PodTemplate) -> Iterable[Reference]:
    yield from container_references(container)
    mounted = {mount.volume for mount in container.mounts}
    for volume in pod.volumes:
        if volume.name in mounted:
            yield from volume_references(volume)


def _contents(references: Iterable[Reference], configs: Configs) -> list[list[object]]:
    """What is there of each: the keys referred to, or all of the object."""
    found = []
    for reference in references:
        config = configs.get((reference.kind, reference.name))
        data = config.data if config else {}
        values = {
            key: hashlib.sha256(value).hexdigest()
            for key, value in data.items()
            if not reference.keys or key in reference.keys
        }
        found.append([reference.kind, reference.name, config is not None, values])
    return found
