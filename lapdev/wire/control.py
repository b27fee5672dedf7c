"""Every control message as a dataclass, under the name it has on the wire.

A message is a CALL frame's body; its answer is a REPLY frame's. Calls are idempotent: a call whose
answer was lost with a connection is simply sent again. Unknown fields are ignored and missing ones
take their default, so that two versions understand each other; a wrong type is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast, get_args

from lapdev.errors import RemoteProtocolError
from lapdev.model import (
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentStatus,
    ExposureId,
    ExposureKind,
    Intercept,
    InterceptId,
    RouteSnapshot,
    Service,
    WorkloadStatus,
)
from lapdev.wire.plain import from_plain, to_plain

# Stream targets: what an OPEN frame may name


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A service port in a namespace. The acceptor checks it against what it manages."""

    namespace: str
    service: str
    port: int
    protocol: str = "tcp"
    """`tcp`, or `udp`: then the stream carries datagrams and no bytes."""


@dataclass(frozen=True, slots=True)
class InterceptTarget:
    """A service port of an intercept. No end names an arbitrary host and port."""

    intercept: InterceptId
    port: int


@dataclass(frozen=True, slots=True)
class LogsTarget:
    """What an environment's workload prints. The stream carries one JSON object a line: `time`
    (seconds since 1970), `pod`, `container`, `text`. The acceptor ends it, or with `follow` the
    opener does."""

    environment: EnvironmentId
    workload: str
    container: str
    """Empty: all."""
    lines: int
    """How many of those printed already, at most 10,000; per container."""
    follow: bool


@dataclass(frozen=True, slots=True)
class ExposureTarget:
    """What a devbox exposes. Only the devbox knows which address that is."""

    exposure: ExposureId


Target = ServiceTarget | InterceptTarget | LogsTarget | ExposureTarget


# Answers without content


@dataclass(frozen=True, slots=True)
class Done:
    """The call took effect."""


# Cloud → manager


@dataclass(frozen=True, slots=True)
class EnvironmentRef:
    id: EnvironmentId
    generation: int


@dataclass(frozen=True, slots=True)
class SyncEnvironments:
    """All environments of the cluster. What is not listed is deleted. Answer: `SyncNeeds`."""

    environments: tuple[EnvironmentRef, ...]


@dataclass(frozen=True, slots=True)
class SyncNeeds:
    """The listed environments that the manager does not hold at that generation."""

    environments: tuple[EnvironmentId, ...]


@dataclass(frozen=True, slots=True)
class InterceptGrant:
    """An intercept with what its sidecars need to open its tunnel."""

    intercept: Intercept
    token: str
    cloud: str = ""
    """Where its sidecars reach the cloud: the manager's to fill in, for only it knows."""


@dataclass(frozen=True, slots=True)
class ApplyEnvironment:
    """One environment, whole. Older generations than the one held are ignored. Answer: `Done`."""

    environment: Environment
    intercepts: tuple[InterceptGrant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteEnvironment:
    """Answer: `Done`, once nothing of the environment runs any more."""

    id: EnvironmentId


# Manager → cloud


@dataclass(frozen=True, slots=True)
class ReportCluster:
    """Sent after each connect. Answer: `Done`."""

    version: str
    driver: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReportEnvironment:
    """Sent on every change of what runs. Answer: `Done`."""

    id: EnvironmentId
    generation: int
    status: EnvironmentStatus
    detail: str
    workloads: tuple[WorkloadStatus, ...]
    services: tuple[Service, ...] = ()


# Manager → sidecar


@dataclass(frozen=True, slots=True)
class ApplyRoutes:
    """Replaces the sidecar's routes unless it holds a newer generation. Answer: `RoutesApplied`."""

    snapshot: RouteSnapshot


@dataclass(frozen=True, slots=True)
class RoutesApplied:
    """What the sidecar now holds."""

    generation: int
    digest: str


# Devbox → cloud


@dataclass(frozen=True, slots=True)
class StartSession:
    """Names the device and the environment it works in. Answer: `SessionState`."""

    device: DeviceId
    device_name: str
    environment: str
    """Name or id; empty keeps the device's last one."""


@dataclass(frozen=True, slots=True)
class StartExposure:
    """Announces one thing of the devbox's machine, on each connect. Answer: `ExposureState`."""

    key: str
    """64 hexadecimal digits that only this devbox knows: the same key is the same exposure."""
    kind: ExposureKind
    name: str
    """What its label begins with. A DNS label."""
    port: int = 0
    """Raw: the port of the cloud that is wanted; 0: any."""
    watch: bool = False
    """The devbox wants `RequestsSeen`."""


@dataclass(frozen=True, slots=True)
class ExposureState:
    id: ExposureId
    url: str
    problem: str = ""
    """Why it is not served; empty when it is."""


@dataclass(frozen=True, slots=True)
class EndExposure:
    """Its name leads nowhere any more. Answer: `Done`."""

    id: ExposureId


# Cloud → devbox


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One exchange with a visitor, or one raw connection (method STREAM), at its end."""

    method: str
    path: str
    """Without its query."""
    status: int
    duration_ms: float
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class RequestsSeen:
    """What visitors of an exposure asked for since the last one. Answer: `Done`."""

    exposure: ExposureId
    requests: tuple[RequestSeen, ...]
    more: int = 0
    """How many are left out, because there were too many."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the device may reach and stands in for; sent again, whole, on every change.

    As the cloud's call it is answered by `Done`.
    """

    environment: EnvironmentId
    environment_name: str
    namespace: str
    services: tuple[Service, ...]
    intercepts: tuple[Intercept, ...]


Message = (
    Done
    | SyncEnvironments
    | SyncNeeds
    | ApplyEnvironment
    | DeleteEnvironment
    | ReportCluster
    | ReportEnvironment
    | ApplyRoutes
    | RoutesApplied
    | StartSession
    | SessionState
    | StartExposure
    | ExposureState
    | EndExposure
    | RequestsSeen
)

_MESSAGES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Message)}
_TARGETS: dict[str, type[Any]] = {
    "service": ServiceTarget,
    "intercept": InterceptTarget,
    "logs": LogsTarget,
    "exposure": ExposureTarget,
}
_KINDS = {cls: kind for kind, cls in _TARGETS.items()}
MAX_LOG_LINES = 10_000


def encode_message(message: Message) -> tuple[str, dict[str, Any]]:
    """The message's name and its fields as values msgpack can pack."""
    return type(message).__name__, cast("dict[str, Any]", to_plain(message))


def decode_message(name: object, body: object) -> Message:
    """The message `name` with the fields in `body`.

    Raises:
        RemoteProtocolError: unknown name, missing field or wrong type.
    """
    cls = _MESSAGES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise RemoteProtocolError(f"unknown control message {name!r:.60}")
    return cast("Message", from_plain(cls, body))


def encode_target(target: Target) -> dict[str, Any]:
    """The target as the map an OPEN frame carries."""
    plain = {"kind": _KINDS[type(target)], **cast("dict[str, Any]", to_plain(target))}
    if plain.get("protocol") == "tcp":
        del plain["protocol"]  # what it is when nothing is said
    return plain


def decode_target(value: object) -> Target:
    """The target in an OPEN frame.

    Raises:
        RemoteProtocolError: unknown kind, missing field or wrong type.
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    cls = _TARGETS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RemoteProtocolError("a stream target names no known kind")
    target = cast("Target", from_plain(cls, value))
    if isinstance(target, LogsTarget):
        if not 0 <= target.lines <= MAX_LOG_LINES:
            raise RemoteProtocolError(f"{target.lines} lines are not between 0 and {MAX_LOG_LINES}")
        return target
    if isinstance(target, ExposureTarget):
        return target
    if not 0 < target.port < 65536:
        raise RemoteProtocolError(f"port {target.port} is not between 1 and 65535")
    if isinstance(target, ServiceTarget) and target.protocol not in ("tcp", "udp"):
        raise RemoteProtocolError(f"protocol {target.protocol!r:.20} is neither tcp nor udp")
    return target
