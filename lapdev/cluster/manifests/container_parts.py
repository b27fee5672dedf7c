"""Containers, read from a pod's manifest."""

from __future__ import annotations

from collections.abc import Collection

from lapdev.cluster.manifests.container import Container, ContainerPort, RestartPolicy
from lapdev.cluster.manifests.env_parts import parse_env, parse_env_from
from lapdev.cluster.manifests.known_fields import CONTAINER_FIELDS, refuse_unknown
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.probe_parts import parse_hook, parse_probe
from lapdev.cluster.manifests.resources import parse_resources
from lapdev.cluster.manifests.volume_parts import parse_mounts

_WHILE_IT_RUNS = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


def parse_container(node: Node, volumes: Collection[str], *, init: bool = False) -> Container:
    """The container, with mounts of these volumes. An `init` one ends, unless it is a sidecar."""
    name = node.child("name").dns_label()
    node = Node(node.value, f'{node.where} "{name}":')
    refuse_unknown(node, CONTAINER_FIELDS)
    ports = tuple(_port(port) for port in node.child("ports").items())
    restart = _restart(node.child("restartPolicy"))
    if init and restart is not RestartPolicy.ALWAYS:
        for written in _WHILE_IT_RUNS:
            if node.child(written).present:
                node.child(written).fail(
                    "an init container ends before anybody could ask it",
                    "leave it out, or make it a sidecar with restartPolicy: Always",
                )
    lifecycle = node.child("lifecycle")
    return Container(
        name=name,
        where=node.place,
        image=node.child("image").text(""),
        command=node.child("command").texts(),
        args=node.child("args").texts(),
        env_from=parse_env_from(node.child("envFrom")),
        env=parse_env(node.child("env")),
        working_dir=_working_dir(node.child("workingDir")),
        ports=ports,
        startup=parse_probe(node.child("startupProbe"), ports),
        readiness=parse_probe(node.child("readinessProbe"), ports, repeats_success=True),
        liveness=parse_probe(node.child("livenessProbe"), ports),
        post_start=parse_hook(lifecycle.child("postStart"), ports),
        pre_stop=parse_hook(lifecycle.child("preStop"), ports),
        mounts=parse_mounts(node.child("volumeMounts"), volumes),
        resources=parse_resources(node.child("resources")),
        restart=restart,
    )


def _working_dir(node: Node) -> str:
    return node.absolute_path() if node.text("") else ""


def _restart(node: Node) -> RestartPolicy | None:
    return RestartPolicy(node.choice(tuple(RestartPolicy), "")) if node.present else None


def _port(node: Node) -> ContainerPort:
    return ContainerPort(
        port=node.child("containerPort").integer(1, 65535),
        name=node.child("name").text(""),
        protocol=node.child("protocol").choice(("TCP", "UDP", "SCTP"), "TCP"),
    )
