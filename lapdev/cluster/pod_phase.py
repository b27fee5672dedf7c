"""Where a pod is in its life, in Kubernetes' words; and what a new spec means for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from lapdev.cluster.manifests import Container, PodTemplate, RestartPolicy
from lapdev.cluster.wanted import WantedWorkload


class PodPhase(StrEnum):
    PENDING = "Pending"
    """Its init containers are not through, or there is nothing of it yet."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    """Every container ended well, and none will run again."""
    FAILED = "Failed"
    """No container will run again, and one did not end well."""


class Part(StrEnum):
    """What a container is in its pod."""

    INIT = "init"
    """Runs to its end before what comes after it."""
    SIDECAR = "sidecar"
    """Starts in its turn and stays as long as the others."""
    MAIN = "main"


@dataclass(frozen=True, slots=True)
class Entry:
    """A container in its turn."""

    container: Container
    part: Part
    policy: RestartPolicy


def entries(template: PodTemplate) -> Iterator[Entry]:
    """The pod's containers in the order they start, each with the policy that holds for it."""
    for container in template.init_containers:
        if container.restart is RestartPolicy.ALWAYS:
            yield Entry(container, Part.SIDECAR, RestartPolicy.ALWAYS)
            continue
        policy = container.restart or template.restart
        # One that has to end cannot be started again because it did.
        once = RestartPolicy.NEVER if policy is RestartPolicy.NEVER else RestartPolicy.ON_FAILURE
        yield Entry(container, Part.INIT, once)
    for container in template.containers:
        yield Entry(container, Part.MAIN, container.restart or template.restart)


def can_update(old: WantedWorkload, new: WantedWorkload) -> bool:
    """A pod of the old spec can become one of the new: only containers of it differ."""
    return old.pod_digest == new.pod_digest and old.sidecar == new.sidecar


def unchanged(old: WantedWorkload, new: WantedWorkload) -> frozenset[str]:
    """Names of the containers that stay as they are."""
    before = {each.container.name: each for each in entries(old.facts.pod)}
    return frozenset(
        each.container.name
        for each in entries(new.facts.pod)
        if (known := before.get(each.container.name))
        and (known.part, known.policy) == (each.part, each.policy)
        and old.container_digests[known.container.name]
        == new.container_digests[each.container.name]
    )
