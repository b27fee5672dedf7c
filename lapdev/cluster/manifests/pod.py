"""Pod templates as checked values: containers, volumes, and what holds for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lapdev.cluster.manifests.container import Container, RestartPolicy

# Volumes


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """Lives as long as its pod."""

    memory: bool = False
    size_limit: int | None = None
    """Bytes."""


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """Entries of a ConfigMap or Secret as files."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    items: tuple[tuple[str, str, int | None], ...] = ()
    """(key, path, mode); empty: every entry under its own name."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class DownwardFiles:
    """Facts about the pod as files."""

    items: tuple[tuple[str, str, int | None], ...]
    """(field path, path, mode)."""


@dataclass(frozen=True, slots=True)
class Projected:
    """Files from several sources in one folder; a configMap, secret or downwardAPI volume is one
    with a single source."""

    sources: tuple[ConfigFiles | DownwardFiles, ...]
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class HostPath:
    """A file or folder of this machine."""

    path: str
    kind: str = ""
    """Kubernetes' `type`: what has to be there, or is made."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Outlives pods: goes with the namespace."""

    name: str
    per_pod: bool = False
    """Of a StatefulSet's template, or ephemeral: the pod's name is part of the claim's."""
    read_only: bool = False


VolumeSource = EmptyDir | Projected | HostPath | Claim


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    source: VolumeSource


@dataclass(frozen=True, slots=True)
class PodTemplate:
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    """In order. Those with RestartPolicy.ALWAYS are sidecars and stay."""
    volumes: tuple[Volume, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    restart: RestartPolicy = RestartPolicy.ALWAYS
    termination_grace: float = 30.0
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(address, names)."""
    hostname: str = ""
    """Empty: the pod's name."""
    subdomain: str = ""

    def all_containers(self) -> tuple[Container, ...]:
        """In the order they start."""
        return (*self.init_containers, *self.containers)

    def serving(self) -> tuple[Container, ...]:
        """Those that are there while the pod serves: its containers and native sidecars."""
        kept = tuple(c for c in self.init_containers if c.restart is RestartPolicy.ALWAYS)
        return (*kept, *self.containers)

    def port_named(self, target: int | str) -> int | None:
        """The number of a container port, given by number or by name."""
        if isinstance(target, int):
            return target
        for container in self.serving():
            for port in container.ports:
                if port.name == target:
                    return port.port
        return None
