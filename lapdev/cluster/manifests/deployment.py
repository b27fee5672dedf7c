"""Deployment objects, checked; fields lapdev has no use for are left unread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lapdev.cluster.manifests.node import Node, object_node


@dataclass(frozen=True, slots=True)
class ContainerPort:
    port: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class EnvVar:
    name: str
    value: str = ""
    field_path: str = ""
    """Downward API (`status.podIP`); then `value` is empty."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask whether a container is ready. Durations in seconds."""

    kind: Literal["http", "tcp"]
    port: int
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    where: str
    """`Deployment/api: spec.template.spec.containers[0] "web"`, for complaints."""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readiness: Probe | None = None

    def tcp_ports(self) -> tuple[int, ...]:
        return tuple(port.port for port in self.ports if port.protocol == "TCP")


@dataclass(frozen=True, slots=True)
class Deployment:
    name: str
    replicas: int
    containers: tuple[Container, ...]
    labels: dict[str, str] = field(default_factory=dict)
    """Of the pods."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Of the pods."""
    termination_grace: float = 30.0

    def port_named(self, target: int | str) -> int | None:
        """The number of a container port, given by number or by name."""
        if isinstance(target, int):
            return target
        for container in self.containers:
            for port in container.ports:
                if port.name == target:
                    return port.port
        return None


def parse_deployment(item: dict[str, Any]) -> Deployment:
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
    return Deployment(
        name=root.child("metadata").child("name").dns_label(),
        replicas=spec.child("replicas").integer(0, 100, default=1),
        containers=containers,
        labels=metadata.child("labels").text_map(),
        annotations=metadata.child("annotations").text_map(),
        termination_grace=float(
            pod.child("terminationGracePeriodSeconds").integer(0, 3600, default=30)
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
            kind="http" if plain else "tcp",
            port=_probe_port(action.child("port"), ports),
            path=action.child("path").text("/") or "/",
            headers=tuple(
                (header.child("name").text(), header.child("value").text())
                for header in action.child("httpHeaders").items()
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
