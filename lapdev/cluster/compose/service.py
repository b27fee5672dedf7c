"""A Compose service as checked values. `reading` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lapdev.cluster.compose.values import Value


class Condition(StrEnum):
    """What a service waits for before it starts."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Dependency:
    service: str
    condition: Condition
    required: bool
    at: Value


@dataclass(frozen=True, slots=True)
class Health:
    """Durations in seconds."""

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 0.0
    """0: not given."""


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of the container."""

    number: int
    at: Value
    published: int = 0
    """The port that Docker would open on the host; 0: none, or any."""
    is_published: bool = False
    is_guess: bool = False
    """Only the Dockerfile says so."""


class MountKind(StrEnum):
    BIND = "bind"
    VOLUME = "volume"
    MEMORY = "tmpfs"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class ServiceMount:
    kind: MountKind
    source: str
    """An absolute path of this machine, or the key of a volume; empty for the other kinds."""
    target: str
    at: Value
    read_only: bool = False
    sub_path: str = ""
    make: bool = True
    """A folder is made where a bind's source is not there."""
    owner: str = ""
    """The service whose unnamed volume it is, where that is another one."""


@dataclass(frozen=True, slots=True)
class ConfigGrant:
    """A config or secret that a service sees as a file."""

    name: str
    target: str
    at: Value
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """`x-lapdev` of a service."""

    at: Value
    command: tuple[str, ...] = ()
    one_time: bool = False
    http: int | None = None
    """0: it has no preview; None: nothing said."""
    tcp: tuple[int, ...] = ()
    path: str = ""
    host: str = ""

    @property
    def routes(self) -> bool:
        return bool(self.http or self.path or self.host)


@dataclass(frozen=True, slots=True)
class Limits:
    """Kubernetes quantities."""

    limits: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComposeService:
    name: str
    label: str
    at: Value
    image: str
    words: tuple[str, ...]
    """What runs."""
    working_dir: str
    env: dict[str, str]
    ports: tuple[Port, ...]
    depends_on: tuple[Dependency, ...]
    health: Health | None
    restart: str
    """As written, without the number of retries; empty: nothing said."""
    mounts: tuple[ServiceMount, ...]
    configs: tuple[ConfigGrant, ...]
    secrets: tuple[ConfigGrant, ...]
    resources: Limits
    hooks: dict[str, tuple[str, ...]]
    """`postStart` and `preStop` to their commands."""
    stop_grace: float
    """Seconds."""
    labels: dict[str, str]
    aliases: tuple[str, ...]
    """Host names besides the service's own."""
    extra_hosts: tuple[tuple[str, str], ...]
    """(name, address)."""
    extension: Extension

    @property
    def all_ports(self) -> tuple[int, ...]:
        """TCP ports, each once."""
        return tuple(dict.fromkeys(port.number for port in self.ports))
