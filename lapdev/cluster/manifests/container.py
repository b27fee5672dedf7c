"""Containers as checked values: what one runs, sees, is asked and may use.

Values only; `container_parts` reads them from a manifest. Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class RestartPolicy(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class ContainerPort:
    port: int
    name: str = ""
    protocol: str = "TCP"


# Environment


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One entry of a ConfigMap or Secret."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ResourceField:
    """`limits.memory` and its like, of this container or another of the pod."""

    resource: str
    container: str = ""
    divisor: str = ""
    of: Resources | None = None
    """What that container may use."""


@dataclass(frozen=True, slots=True)
class EnvVar:
    name: str
    value: str = ""
    field_path: str = ""
    """Downward API (`status.podIP`); then `value` is empty."""
    key: ConfigKey | None = None
    resource: ResourceField | None = None


@dataclass(frozen=True, slots=True)
class EnvFrom:
    """All entries of a ConfigMap or Secret, each as a variable."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    prefix: str = ""
    optional: bool = False


# Probes and hooks


@dataclass(frozen=True, slots=True)
class Handler:
    """What a probe or a hook does."""

    kind: Literal["http", "tcp", "exec", "sleep"]
    port: int = 0
    host: str = ""
    """Empty: the pod's own address."""
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    seconds: float = 0.0
    """Of a sleep."""


@dataclass(frozen=True, slots=True)
class Probe:
    handler: Handler
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


# Volumes and resources


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume's place in a container."""

    volume: str
    path: str
    """Absolute."""
    sub_path: str = ""
    """`$(NAME)` in it is expanded where it was given as subPathExpr."""
    expand: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """None: nothing said."""

    cpu_limit: float | None = None
    """Cores."""
    memory_limit: int | None = None
    """Bytes."""
    cpu_request: float | None = None
    memory_request: int | None = None


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    where: str
    """`Deployment/api: spec.template.spec.containers[0] "web"`, for complaints."""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    env: tuple[EnvVar, ...] = ()
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    post_start: Handler | None = None
    pre_stop: Handler | None = None
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    restart: RestartPolicy | None = None
    """Its own, where it has one; else the pod's. An init container with ALWAYS is a sidecar: it is
    started in its turn and stays."""

    def tcp_ports(self) -> tuple[int, ...]:
        return tuple(port.port for port in self.ports if port.protocol == "TCP")
