"""Workloads as checked values: what runs pods, how many, and how they follow one another.

Fields lapdev has no use for are left unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lapdev.cluster.manifests.container import (
    Container,
    ContainerPort,
    EnvVar,
    Handler,
    Probe,
)
from lapdev.cluster.manifests.node import Node, object_node
from lapdev.cluster.manifests.pod import PodTemplate


class WorkloadKind(StrEnum):
    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    JOB = "Job"
    CRON_JOB = "CronJob"
    POD = "Pod"


class Strategy(StrEnum):
    """How pods of a changed template take the place of the old ones."""

    ROLLING = "RollingUpdate"
    RECREATE = "Recreate"
    IN_PLACE = "InPlace"
    """The pod stays; only containers that changed are started again (annotation
    `lapdev.dev/update: in-place`)."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """When a Job is done, and when it has failed. Durations in seconds."""

    completions: int = 1
    parallelism: int = 1
    backoff_limit: int = 6
    active_deadline: float | None = None
    ttl: float | None = None
    """A finished Job's pods are forgotten after this long; None: they stay."""
    indexed: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a CronJob runs."""

    expression: str
    timezone: str = ""
    """Empty: UTC."""
    concurrency: str = "Allow"
    """Allow, Forbid or Replace."""
    suspended: bool = False
    starting_deadline: float | None = None
    successful_history: int = 3
    failed_history: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet, DaemonSet (one pod here), Job, CronJob or bare Pod."""

    name: str
    pod: PodTemplate
    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    replicas: int = 1
    """Pods that should run. Of a Job or CronJob: 0, `job` says it."""
    strategy: Strategy = Strategy.ROLLING
    ordered: bool = True
    """StatefulSet: a pod starts when the one before it is ready (OrderedReady)."""
    governing_service: str = ""
    """StatefulSet: its pods are `<pod>.<service>` in DNS."""
    job: JobPolicy | None = None
    """Of Jobs and CronJobs."""
    schedule: Schedule | None = None
    """Of CronJobs."""

    @property
    def where(self) -> str:
        """`Deployment/api`, for complaints."""
        return f"{self.kind}/{self.name}"


def parse_workload(item: dict[str, Any]) -> Workload:
    """The workload that a Kubernetes object describes. Raises ConfigError as `parse_objects`."""
    return parse_deployment(item)


def parse_deployment(item: dict[str, Any]) -> Workload:
    """The Deployment that a Kubernetes object describes. Raises ConfigError as `parse_objects`."""
    root = object_node(item, "Deployment")
    spec = root.child("spec")
    template = spec.child("template")
    pod = template.child("spec")
    if pod.child("initContainers").value:
        pod.child("initContainers").fail(
            "init containers are not supported", "do their work in the container's command"
        )
    containers = tuple(_container(node) for node in pod.child("containers").items())
    if not containers:
        pod.child("containers").fail("there is no container", "declare at least one container")
    metadata = template.child("metadata")
    return Workload(
        name=root.child("metadata").child("name").dns_label(),
        replicas=spec.child("replicas").integer(0, 100, default=1),
        pod=PodTemplate(
            containers=containers,
            labels=metadata.child("labels").text_map(),
            annotations=metadata.child("annotations").text_map(),
            termination_grace=float(
                pod.child("terminationGracePeriodSeconds").integer(0, 3600, default=30)
            ),
        ),
    )


def _container(node: Node) -> Container:
    name = node.child("name").dns_label()
    node = Node(node.value, f'{node.where} "{name}":')
    if node.child("envFrom").value:
        node.child("envFrom").fail("envFrom is not supported", "list the variables under env")
    ports = tuple(_container_port(port) for port in node.child("ports").items())
    return Container(
        name=name,
        where=node.where.removesuffix(":"),
        image=node.child("image").text(""),
        command=node.child("command").texts(),
        args=node.child("args").texts(),
        env=tuple(variable for item in node.child("env").items() if (variable := _env_var(item))),
        working_dir=node.child("workingDir").text(""),
        ports=ports,
        readiness=_probe(node.child("readinessProbe"), ports),
    )


def _container_port(node: Node) -> ContainerPort:
    return ContainerPort(
        port=node.child("containerPort").integer(1, 65535),
        name=node.child("name").text(""),
        protocol=node.child("protocol").text("TCP"),
    )


def _env_var(node: Node) -> EnvVar | None:
    name = node.child("name").text()
    if not name or "=" in name or "\0" in name:
        node.child("name").fail(f"{name!r} is not a variable's name", "leave out '=' and NUL")
    source = node.child("valueFrom")
    if source.value is None:
        value = node.child("value").text("")
        if "\0" in value:
            node.child("value").fail("contains a NUL byte", "leave it out")
        return EnvVar(name, value)
    if source.child("fieldRef").value is not None:
        return EnvVar(name, field_path=source.child("fieldRef").child("fieldPath").text())
    for kind in ("configMapKeyRef", "secretKeyRef"):
        reference = source.child(kind)
        if reference.value is not None and reference.child("optional").value is True:
            return None
    source.fail(
        f"the value of {name} comes from {' '.join(source.value) or 'nowhere'}",
        "write a plain value, or fieldRef",
    )


def _probe(node: Node, ports: tuple[ContainerPort, ...]) -> Probe | None:
    """None, too, for exec and grpc probes: then listening on the declared ports means ready."""
    for kind, member in (("http", "httpGet"), ("tcp", "tcpSocket")):
        action = node.child(member)
        if action.value is None:
            continue
        # HTTPS probes verify nothing in Kubernetes either: that it listens says as much.
        plain = kind == "http" and action.child("scheme").text("HTTP") == "HTTP"
        return Probe(
            Handler(
                kind="http" if plain else "tcp",
                port=_probe_port(action.child("port"), ports),
                path=action.child("path").text("/") or "/",
                headers=tuple(
                    (header.child("name").text(), header.child("value").text())
                    for header in action.child("httpHeaders").items()
                ),
            ),
            initial_delay=node.child("initialDelaySeconds").integer(0, 3600, default=0),
            period=node.child("periodSeconds").integer(1, 3600, default=10),
            timeout=node.child("timeoutSeconds").integer(1, 3600, default=1),
            failure_threshold=node.child("failureThreshold").integer(1, 1000, default=3),
        )
    return None


def _probe_port(node: Node, ports: tuple[ContainerPort, ...]) -> int:
    if not isinstance(node.value, str):
        return node.integer(1, 65535)
    for port in ports:
        if port.name == node.value:
            return port.port
    node.fail(f"no port is named {node.value!r}", "name a port of this container, or its number")
