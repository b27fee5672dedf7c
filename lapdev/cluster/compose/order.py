"""Who starts when: `depends_on` as a pod's init containers, sidecars and containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from lapdev.cluster.compose.images import image_port
from lapdev.cluster.compose.service import ComposeService, Condition
from lapdev.cluster.compose.values import Value
from lapdev.cluster.manifests.known_fields import nearest

Note = Callable[[str], None]


class Role(Enum):
    """What a service becomes."""

    CONTAINER = "container"
    SIDECAR = "sidecar"
    """An init container that stays: started, and where asked ready, before what follows it."""
    TASK = "task"
    """An init container that ends before anything behind it starts."""


@dataclass(frozen=True, slots=True)
class Turn:
    service: ComposeService
    role: Role
    one_time: bool
    gates: bool
    """What comes after it waits until it is healthy."""


def turns(services: Sequence[ComposeService], inactive: frozenset[str], note: Note) -> list[Turn]:
    """The services in the order they start; those in no relation keep the file's order.

    Raises:
        ConfigError: a service depends on one that is not there, is not active, or on itself by
            way of others.
    """
    by_name = {service.name: service for service in services}
    _refuse_missing(by_name, inactive)
    ordered = _sorted(by_name)
    asked = _asked(ordered, by_name)
    one_time = {
        service.name
        for service in ordered
        if service.extension.one_time or Condition.COMPLETED in asked[service.name].values()
    }
    early = _early(ordered, asked, one_time)
    result = []
    for service in ordered:
        name, is_early = service.name, service.name in early
        if name in one_time:
            role = Role.TASK if is_early else Role.CONTAINER
        else:
            role = Role.SIDECAR if is_early else Role.CONTAINER
        if role is Role.SIDECAR and service.restart in ("no", "on-failure"):
            note(
                f"{service.at.where}: it is started again whenever it ends, because"
                f" {_list(asked[name])} wait for it; if it ends by itself, add"
                " x-lapdev: {one-time: true}"
            )
        healthy = Condition.HEALTHY in asked[name].values()
        result.append(Turn(service, role, name in one_time, gates=healthy or not asked[name]))
    return result


def _refuse_missing(services: Mapping[str, ComposeService], inactive: frozenset[str]) -> None:
    for service in services.values():
        for dependency in service.depends_on:
            name = dependency.service
            if name in services or not dependency.required:
                continue
            if name in inactive:
                dependency.at.fail(
                    f"depends on {name!r}, which is not active",
                    "activate its profile: --profile, or COMPOSE_PROFILES; or write required:"
                    " false",
                )
            close = nearest(name, services)
            dependency.at.fail(
                f"depends on {name!r}, which is no service",
                f"did you mean {close!r}?" if close else "name a service of this project",
            )


def _sorted(services: Mapping[str, ComposeService]) -> list[ComposeService]:
    result: dict[str, ComposeService] = {}
    path: dict[str, Value] = {}

    def visit(name: str) -> None:
        if name in result:
            return
        for dependency in services[name].depends_on:
            if dependency.service not in services:
                continue
            path[name] = dependency.at
            if dependency.service in path:
                names = list(path)
                cycle = [*names[names.index(dependency.service) :], dependency.service]
                dependency.at.fail(
                    f"depends on itself: {' → '.join(cycle)}", "leave one of these out"
                )
            visit(dependency.service)
        path.pop(name, None)
        result[name] = services[name]

    for name in services:
        visit(name)
    return list(result.values())


def _asked(
    ordered: Sequence[ComposeService], services: Mapping[str, ComposeService]
) -> dict[str, dict[str, Condition]]:
    """Service → those who depend on it, and what they wait for."""
    found: dict[str, dict[str, Condition]] = {name: {} for name in services}
    for service in ordered:
        for dependency in service.depends_on:
            if dependency.service in services:
                found[dependency.service][service.name] = dependency.condition
    return found


def _early(
    ordered: Sequence[ComposeService],
    asked: Mapping[str, Mapping[str, Condition]],
    one_time: set[str],
) -> set[str]:
    """Those that have to be there before containers start.

    A mere `service_started` is kept by the order of the containers; who may end by itself stays
    an ordinary container then, because a sidecar would be started again.
    """
    early: set[str] = set()
    for service in reversed(ordered):
        dependants = asked[service.name]
        needed = any(condition is not Condition.STARTED for condition in dependants.values())
        stays = service.name in one_time or _stays(service)
        if needed or (dependants and stays) or any(name in early for name in dependants):
            early.add(service.name)
    return early


def _stays(service: ComposeService) -> bool:
    """It looks like a server."""
    if service.restart in ("always", "unless-stopped"):
        return True
    if service.restart:
        return False
    return bool(service.ports or service.health or image_port(service.image))


def _list(names: Mapping[str, Condition]) -> str:
    return " and ".join(repr(name) for name in names)
