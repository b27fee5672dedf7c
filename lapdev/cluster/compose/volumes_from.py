"""`volumes_from`: a service that sees what another one mounts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from lapdev.cluster.compose.service import ComposeService, MountKind, ServiceMount
from lapdev.cluster.compose.values import Value


def with_inherited_mounts(services: Sequence[ComposeService]) -> list[ComposeService]:
    """The services, each with the mounts of those it names; its own win, then the first's.

    What those have themselves by `volumes_from` comes along.

    Raises:
        ConfigError: it names what is no service that runs, or itself by way of others.
    """
    known = {service.name: service for service in services}
    return [
        dataclasses.replace(service, mounts=tuple(_mounts(service, known, ()).values()))
        for service in services
    ]


def _mounts(
    service: ComposeService, known: Mapping[str, ComposeService], way: tuple[str, ...]
) -> dict[str, ServiceMount]:
    found = {mount.target: mount for mount in service.mounts}
    for item in service.at.child("volumes_from").items():
        name, _, mode = item.text().partition(":")
        other = _named(item, name, mode, known)
        if other.name in (*way, service.name):
            item.fail(f"{service.name!r} and {name!r} have volumes from each other", "keep one")
        for target, mount in _mounts(other, known, (*way, service.name)).items():
            unnamed = mount.kind in (MountKind.ANONYMOUS, MountKind.MEMORY)
            seen = dataclasses.replace(
                mount,
                owner=mount.owner or (other.name if unnamed else ""),
                read_only=mount.read_only or mode == "ro",
            )
            found.setdefault(target, seen)
    return found


def _named(
    item: Value, name: str, mode: str, known: Mapping[str, ComposeService]
) -> ComposeService:
    if name == "container":
        item.fail("names a container of elsewhere", "name a service of this project")
    if mode not in ("", "ro", "rw"):
        item.fail(f"{mode!r} is no mode", "write ro or rw")
    if name not in known:
        item.fail(f"there is no service {name!r} that runs", f"services are: {', '.join(known)}")
    return known[name]
