"""The facts every role speaks about: clusters, environments, workloads, previews, intercepts.

Pure values, frozen, no behaviour beyond naming. What crosses a process boundary is here or in
`wire.control`; what survives a restart is stored by `store` in these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

ClusterId = NewType("ClusterId", str)
EnvironmentId = NewType("EnvironmentId", str)
"""16 random characters of a-z0-9: unguessable, and a legal tracestate value."""
InterceptId = NewType("InterceptId", str)
DeviceId = NewType("DeviceId", str)
ExposureId = NewType("ExposureId", str)
"""Also the label of its host: `port-3000-k3v9x0a1b2c3`."""


class ClusterStatus(StrEnum):
    PROVISIONING = "provisioning"  # its manager never connected
    READY = "ready"
    NOT_READY = "not_ready"


class EnvironmentKind(StrEnum):
    PERSONAL = "personal"  # its own namespace, one owner
    SHARED = "shared"  # its own namespace, the team's baseline
    BRANCH = "branch"  # only changed workloads, inside a shared environment's namespace


class EnvironmentStatus(StrEnum):
    PENDING = "pending"  # the cluster has not taken it up yet
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class Protocol(StrEnum):
    """What a service port declares (appProtocol, or the port name's prefix)."""

    HTTP = "http"
    TCP = "tcp"
    UNDECLARED = "undeclared"


class RoleName(StrEnum):
    CLOUD = "cloud"
    MANAGER = "manager"
    SIDECAR = "sidecar"
    DEVBOX = "devbox"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential proves its bearer to be."""

    role: RoleName
    owner: str
    """Cluster id, `namespace/workload`, intercept id or device id, as the role has it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    id: ClusterId
    name: str
    status: ClusterStatus = ClusterStatus.PROVISIONING
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    id: EnvironmentId
    name: str
    kind: EnvironmentKind
    cluster: ClusterId
    namespace: str
    base: EnvironmentId | None
    generation: int
    """Store revision of the last change to this environment; only grows."""
    manifests: tuple[dict[str, Any], ...] = ()
    """Personal and shared: the Kubernetes objects. Branch: the changed workloads, whole."""
    status: EnvironmentStatus = EnvironmentStatus.PENDING
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PathRoute:
    """Which service port answers a path of a preview URL."""

    path: str
    """Begins with `/`. A prefix of whole segments: `/api` takes `/api/x` and not `/apis`."""
    service: str
    port: int
    exact: bool = False


@dataclass(frozen=True, slots=True)
class PreviewUrl:
    label: str
    """The first label of the host, at most 63 octets: `8080-web-k3v9x0a1b2c3`."""
    environment: EnvironmentId
    service: str
    port: int
    routes: tuple[PathRoute, ...] = ()
    """First match wins; empty: everything goes to `service` and `port`. With routes those two only
    name the preview, and a path without one is not found."""
    tcp_port: int | None = None
    """A raw TCP preview: the port it is reached at. It has no host of its own."""
    name: str = ""
    """With routes: what the Ingress that asked for it is called, which its label begins with."""
    answer_timeout: int | None = None
    """Seconds an app may take to begin its answer. 0: any time; None: as the cloud is set."""


@dataclass(frozen=True, slots=True)
class PortMap:
    """A service port and the port on the developer's machine that stands in for it."""

    service_port: int
    local_port: int


@dataclass(frozen=True, slots=True)
class Intercept:
    id: InterceptId
    environment: EnvironmentId
    service: str
    workload: str
    device: DeviceId
    ports: tuple[PortMap, ...]
    include_branches: bool = False
    """On a shared environment: take requests that carry a branch, too."""


class ExposureKind(StrEnum):
    HTTP = "http"  # a host below the preview domain
    TCP = "tcp"  # a port of the cloud
    UDP = "udp"  # the same, for datagrams


@dataclass(frozen=True, slots=True)
class Exposure:
    """Something on a developer's machine that visitors reach. Which address it is there, only that
    machine knows."""

    id: ExposureId
    kind: ExposureKind
    port: int | None = None
    """Raw: the port of the cloud it is reached at."""


class ContainerState(StrEnum):
    WAITING = "waiting"  # its turn has not come, or its pod is being prepared
    RUNNING = "running"  # and not ready
    READY = "ready"
    RESTARTING = "restarting"
    DONE = "done"  # ended well, for good
    FAILED = "failed"  # ended for good


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    pod: str
    name: str
    state: ContainerState
    restarts: int = 0
    last_exit: str = ""
    """How it last ended, if it ever did: `exit code 1: no such table`."""


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    name: str
    wanted: int
    ready: int
    restarts: int = 0
    detail: str = ""
    """What it waits for and why, for people; empty when it is as wanted."""
    routes_generation: int = 0
    """The generation every connected sidecar of the workload has acknowledged."""
    kind: str = "Deployment"
    succeeded: int = 0
    """Runs of a Job that were done. They count in `ready`."""
    failed: str = ""
    """Why it has failed for good (a Job beyond its back-off limit); else empty."""
    last_exit: str = ""
    """How a container of it last ended, if one ever did: `web: exit code 1: no such table`."""
    containers: tuple[ContainerStatus, ...] = ()
    """Where its pods have several: each of each pod, in the order they start."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a container printed."""

    time: float
    """Seconds since 1970."""
    pod: str
    container: str
    text: str


@dataclass(frozen=True, slots=True)
class ServicePort:
    port: int
    target: int | str
    """A number, or the name of a container port."""
    name: str = ""
    protocol: Protocol = Protocol.UNDECLARED


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    selector: dict[str, str]
    ports: tuple[ServicePort, ...]
    labels: dict[str, str] = field(default_factory=dict)
    headless: bool = False
    """Its name means its pods' own addresses: nothing stands before them."""
    external_name: str = ""
    """It is another name for this host, and has no pods."""
    publish_not_ready: bool = False
    """Headless: pods that are not ready have an address, too."""

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it serves pods with these labels. Without a selector it serves none."""
        return bool(self.selector) and self.selector.items() <= labels.items()


# Routes: what one sidecar needs to decide


@dataclass(frozen=True, slots=True)
class BranchRoute:
    """A branch runs its own version of this workload."""

    branch: EnvironmentId
    name: str
    """The branch's name, for headers and logs."""
    ports: dict[str, str]
    """`service:port` of the base → `host:port` to dial."""


@dataclass(frozen=True, slots=True)
class InterceptRoute:
    """A developer's laptop takes this workload's traffic."""

    intercept: InterceptId
    branch: EnvironmentId | None
    """None: the intercept is on the environment the sidecar runs in."""
    service: str
    ports: tuple[int, ...]
    """Ports of the service it takes."""
    token: str
    """Opens streams for this intercept and nothing else. Never logged."""
    cloud: str
    """Where the cloud's tunnels are accepted: `unix:PATH` or `http(s)://host:port`."""
    include_branches: bool = False


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """All routes of one workload: whole, never a delta."""

    environment: EnvironmentId
    environment_name: str
    workload: str
    generation: int
    digest: str
    """SHA-256 (hex) over the rows: equal digests mean equal routes."""
    branches: tuple[BranchRoute, ...] = ()
    intercepts: tuple[InterceptRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class SidecarPort:
    """One service port the sidecar stands before."""

    proxy_port: int
    """Where the sidecar listens in the pod."""
    service_port: int
    target_port: int
    """Where the app listens, on the pod's localhost."""
    service: str
    protocol: Protocol = Protocol.UNDECLARED

    @property
    def key(self) -> str:
        """`service:port`, as routes name it."""
        return f"{self.service}:{self.service_port}"


@dataclass(frozen=True, slots=True)
class SidecarIdentity:
    """Which pod a sidecar stands in. The marked one is a branch's own version of a workload."""

    namespace: str
    environment: EnvironmentId
    environment_name: str
    workload: str
    """The name users know: a branch's copy of `api` is `api` too."""
    pod: str
