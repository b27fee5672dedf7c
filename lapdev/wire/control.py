"""Every control message as a dataclass, and how one becomes msgpack-ready values.

A message is a CALL frame's body; its answer is a REPLY frame's. Calls are idempotent: a call whose
answer was lost with a connection is simply sent again. Unknown fields are ignored and missing ones
take their default, so that two versions understand each other; a wrong type is refused.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lapdev.errors import RemoteProtocolError
from lapdev.model import (
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentStatus,
    Intercept,
    InterceptId,
    RouteSnapshot,
    Service,
    WorkloadStatus,
)

# Stream targets: what an OPEN frame may name


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A service port in a namespace. The acceptor checks it against what it manages."""

    namespace: str
    service: str
    port: int


@dataclass(frozen=True, slots=True)
class InterceptTarget:
    """A service port of an intercept. No end names an arbitrary host and port."""

    intercept: InterceptId
    port: int


Target = ServiceTarget | InterceptTarget

T = TypeVar("T")


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
    cloud: str


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


# Cloud → devbox


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
)

_MESSAGES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Message)}
_TARGETS: dict[str, type[Any]] = {"service": ServiceTarget, "intercept": InterceptTarget}


def encode_message(message: Message) -> tuple[str, dict[str, Any]]:
    """The message's name and its fields as values msgpack can pack."""
    return type(message).__name__, cast("dict[str, Any]", _to_plain(message))


def decode_message(name: object, body: object) -> Message:
    """The message `name` with the fields in `body`.

    Raises:
        RemoteProtocolError: unknown name, missing field or wrong type.
    """
    cls = _MESSAGES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise RemoteProtocolError(f"unknown control message {name!r:.60}")
    return cast("Message", _from_plain(cls, body, cls.__name__))


def encode_target(target: Target) -> dict[str, Any]:
    """The target as the map an OPEN frame carries."""
    kind = "service" if isinstance(target, ServiceTarget) else "intercept"
    return {"kind": kind, **cast("dict[str, Any]", _to_plain(target))}


def decode_target(value: object) -> Target:
    """The target in an OPEN frame.

    Raises:
        RemoteProtocolError: unknown kind, missing field or wrong type.
    """
    kind = value.get("kind") if isinstance(value, dict) else None
    cls = _TARGETS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise RemoteProtocolError("a stream target names no known kind")
    target = cast("Target", _from_plain(cls, value, cls.__name__))
    if not 0 < target.port < 65536:
        raise RemoteProtocolError(f"port {target.port} is not between 1 and 65535")
    return target


# Dataclass ⇄ plain values


def from_plain(cls: type[T], value: object) -> T:
    """The dataclass `cls` made of a map, checked as messages are.

    Raises:
        RemoteProtocolError: missing field or wrong type; names the field.
    """
    return cast("T", _from_plain(cls, value, cls.__name__))


_known_fields: dict[type[Any], tuple[tuple[str, Any, bool], ...]] = {}


def _fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    """(name, resolved type, required) of each field."""
    known = _known_fields.get(cls)
    if known is None:
        known = _known_fields[cls] = _resolve_fields(cls)
    return known


def _resolve_fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (f.name, hints[f.name], f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(cls)
    )


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {name: _to_plain(getattr(value, name)) for name, _, _ in _fields(type(value))}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        # A map's keys are text on the wire, as in JSON: other keys are what decoders refuse.
        return {str(key): _to_plain(item) for key, item in value.items()}
    return value


def _from_plain(wanted: Any, value: object, where: str) -> Any:
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _object_from_plain(wanted, value, where)
    while isinstance(wanted, typing.NewType):
        wanted = wanted.__supertype__
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union_from_plain(arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_from_plain(arguments[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        key_type, item_type = arguments
        return {
            _key_from_plain(key_type, key, where): _from_plain(item_type, item, where)
            for key, item in value.items()
        }
    if isinstance(wanted, type) and issubclass(wanted, StrEnum) and isinstance(value, str):
        try:
            return wanted(value)
        except ValueError as exc:
            raise RemoteProtocolError(f"{where}: {value!r:.60} is not a {wanted.__name__}") from exc
    if isinstance(wanted, type) and type(value) is wanted:  # bool is not an int here
        return value
    raise RemoteProtocolError(f"{where}: a {type(value).__name__} where {wanted} belongs")


def _key_from_plain(wanted: Any, key: object, where: str) -> Any:
    if wanted is int and isinstance(key, str) and re.fullmatch("0|[1-9][0-9]{0,17}", key):
        return int(key)
    return _from_plain(wanted, key, where)


def _object_from_plain(cls: type[Any], value: object, where: str) -> Any:
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{where}: a {type(value).__name__} where a map belongs")
    known: dict[str, Any] = {}
    for name, wanted, required in _fields(cls):
        if name in value:
            known[name] = _from_plain(wanted, value[name], f"{where}.{name}")
        elif required:
            raise RemoteProtocolError(f"{where}.{name} is missing")
    return cls(**known)


def _union_from_plain(options: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _from_plain(option, value, where)
        except RemoteProtocolError:
            continue
    raise RemoteProtocolError(f"{where}: a {type(value).__name__} fits no option")
