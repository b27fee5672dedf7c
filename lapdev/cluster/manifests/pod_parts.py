"""Pod templates, read from a manifest, and what has to hold between a pod's containers."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Collection, Iterable

from lapdev.cluster.manifests.command import COMMAND_ANNOTATION
from lapdev.cluster.manifests.container import Container, EnvVar, ResourceField, RestartPolicy
from lapdev.cluster.manifests.container_parts import parse_container
from lapdev.cluster.manifests.known_fields import POD_FIELDS, refuse_unknown
from lapdev.cluster.manifests.node import Node, refuse_repeated
from lapdev.cluster.manifests.pod import PodTemplate
from lapdev.cluster.manifests.volume_parts import parse_volumes


def parse_pod(
    template: Node, restarts: Collection[RestartPolicy], claims: Node | None = None
) -> PodTemplate:
    """The pod that `template` (its `metadata` and `spec`) describes.

    `restarts` are the policies that this kind of workload allows; `claims` a StatefulSet's
    volumeClaimTemplates.
    """
    spec, metadata = template.child("spec"), template.child("metadata")
    refuse_unknown(spec, POD_FIELDS)
    volumes = parse_volumes(spec.child("volumes"), claims or Node(None, template.where))
    names = {volume.name for volume in volumes}
    init = [
        (node, parse_container(node, names, init=True))
        for node in spec.child("initContainers").items()
    ]
    main = [(node, parse_container(node, names)) for node in spec.child("containers").items()]
    if not main:
        spec.child("containers").fail("there is no container", "declare at least one container")
    refuse_repeated(((node.child("name"), c.name) for node, c in (*init, *main)), "name")
    _refuse_strange_commands(metadata.child("annotations"), [c.name for _, c in (*init, *main)])
    both = _with_resources([*init, *main])
    pod = PodTemplate(
        containers=tuple(both[len(init) :]),
        init_containers=tuple(both[: len(init)]),
        volumes=volumes,
        labels=metadata.child("labels").text_map(),
        annotations=metadata.child("annotations").text_map(),
        restart=_restart(spec.child("restartPolicy"), restarts),
        termination_grace=float(
            spec.child("terminationGracePeriodSeconds").integer(0, 86400, default=30)
        ),
        host_aliases=tuple(_alias(node) for node in spec.child("hostAliases").items()),
        hostname=_label(spec.child("hostname")),
        subdomain=_label(spec.child("subdomain")),
    )
    _refuse_port_clashes(pod.serving())
    return pod


def _refuse_strange_commands(annotations: Node, names: list[str]) -> None:
    """What an annotation says of one container is said of one there is."""
    for annotation in annotations.mapping():
        command, _, name = annotation.partition(f"{COMMAND_ANNOTATION}.")
        if not command and name not in names:
            annotations.child(annotation).fail(
                f"there is no container {name!r:.80}", f"name one of: {', '.join(names)}"
            )


def _label(node: Node) -> str:
    return node.dns_label() if node.text("") else ""


def _restart(node: Node, allowed: Collection[RestartPolicy]) -> RestartPolicy:
    policy = node.choice(tuple(RestartPolicy), RestartPolicy.ALWAYS)
    if policy not in allowed:
        node.fail(
            f"is {policy}" if node.present else "is not written, which means Always",
            f"write {' or '.join(allowed)}",
        )
    return RestartPolicy(policy)


def _alias(node: Node) -> tuple[str, tuple[str, ...]]:
    address = node.child("ip").text()
    try:
        ipaddress.ip_address(address)
    except ValueError:
        node.child("ip").fail(f"{address!r:.60} is not an address", "write one like 127.0.0.1")
    return address, tuple(name.host_name() for name in node.child("hostnames").items())


def _with_resources(found: Iterable[tuple[Node, Container]]) -> list[Container]:
    """The containers, each resourceFieldRef with what its container may use."""
    pairs = list(found)
    by_name = {container.name: container for _, container in pairs}

    def resolved(variable: EnvVar, own: Container) -> EnvVar:
        if variable.resource is None:
            return variable
        name = variable.resource.container or own.name
        if name not in by_name:
            Node(None, own.where).fail(
                f"{variable.name} refers to container {name!r:.80}, which is not there",
                f"name one of: {', '.join(by_name)}",
            )
        field: ResourceField = dataclasses.replace(variable.resource, of=by_name[name].resources)
        return dataclasses.replace(variable, resource=field)

    return [
        dataclasses.replace(own, env=tuple(resolved(variable, own) for variable in own.env))
        for _, own in pairs
    ]


def _refuse_port_clashes(containers: Iterable[Container]) -> None:
    """Containers of a pod share its address: a port can be one's only."""
    owners: dict[tuple[int, str], Container] = {}
    for container in containers:
        for port in container.ports:
            owner = owners.setdefault((port.port, port.protocol), container)
            if owner is not container:
                Node(None, container.where).fail(
                    f"port {port.port}/{port.protocol} is taken: containers {owner.name} and"
                    f" {container.name} of one pod both declare it",
                    "containers of a pod share one address: let one of the two listen elsewhere",
                )
