"""A Compose project → the Kubernetes objects of an environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lapdev.cluster.compose.keys import TOP_LEVEL
from lapdev.cluster.compose.loading import Source, Surroundings, environment_of, load
from lapdev.cluster.compose.order import Role, Turn, turns
from lapdev.cluster.compose.pod import deployment, health_port, is_host_name, service_object
from lapdev.cluster.compose.ports import refuse_clashes
from lapdev.cluster.compose.previews import (
    ingress_objects,
    preview_hosts,
    tcp_ports,
    with_ports,
)
from lapdev.cluster.compose.reading import Reading, read_service
from lapdev.cluster.compose.running import refuse_missing_commands
from lapdev.cluster.compose.service import ComposeService
from lapdev.cluster.compose.sources import Files, Reader, folder_of
from lapdev.cluster.compose.values import Value, dns_label, is_plain_text
from lapdev.cluster.compose.volumes import Volumes
from lapdev.cluster.compose.volumes_from import with_inherited_mounts
from lapdev.errors import ConfigError

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    name: str
    """The project's, a DNS label."""
    objects: tuple[Object, ...]
    notes: tuple[str, ...]
    """For people: what was ignored, which variables are unset."""
    files: tuple[str, ...]
    """Absolute paths of all files that were read besides the given ones."""


def convert(
    sources: Sequence[Source],
    files: Files,
    environ: Mapping[str, str],
    profiles: Sequence[str] = (),
) -> Conversion:
    """The objects that these files of one project stand for; later files change earlier ones.

    Relative paths start at the first file's folder, where `.env` is looked for, too. `profiles`
    are active besides those in COMPOSE_PROFILES.

    Raises:
        ConfigError: names file, line and path, and the remedy.
    """
    if not sources:
        raise ConfigError("no Compose file is given", hint="name one")
    reader, notes = Reader(files), _Notes()
    folder = folder_of(sources[0].path) if sources[0].path else files.resolve(".")
    variables = environment_of(folder, environ, reader)
    document = load(sources, Surroundings(reader, folder, variables, notes.unset))
    root = Value(document.value, (), document.places)
    root.only(TOP_LEVEL)
    _note_networks(root, notes)
    project = _project_name(root, variables, folder)
    active, inactive = _active(root, {*profiles, *_listed(variables)})
    around = Reading(reader, folder, variables.get, notes.add)
    services = [read_service(name, value, around) for name, value in active]
    refuse_missing_commands([s.at for s in services], [s.words for s in services])
    _refuse_same_label(services)
    _note_names(services, notes)
    hosts = preview_hosts(root, services, notes.add)
    services = with_inherited_mounts(with_ports(services, hosts))
    ordered = turns(services, inactive, notes.add)
    _refuse_unknown_health(ordered)
    refuse_clashes([turn.service for turn in ordered if not _ends_first(turn)])
    volumes = Volumes(root, reader, notes.add)
    pod = deployment(project, ordered, inactive, volumes, variables.get)
    objects = [
        *volumes.objects,
        pod,
        *(service_object(project, s, tcp_ports(s)) for s in services if s.ports),
        *ingress_objects(project, hosts),
    ]
    _refuse_what_is_no_text(objects)
    return Conversion(project, tuple(objects), notes.all(), reader.read)


def _refuse_what_is_no_text(objects: Sequence[Object]) -> None:
    """The last resort, for what Dockerfiles and the environment say."""
    waiting: list[object] = list(objects)
    while waiting:
        match waiting.pop():
            case dict() as mapping:
                waiting += [*mapping, *mapping.values()]
            case list() as items:
                waiting += items
            case str() as text if not is_plain_text(text):
                raise ConfigError(
                    f"{text!r:.80} contains a NUL byte or half a character",
                    hint="look for it in Dockerfiles, env files and the environment",
                )


class _Notes:
    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._unset: dict[str, str] = {}

    def add(self, text: str) -> None:
        self._notes[text] = None

    def unset(self, name: str, where: str) -> None:
        self._unset.setdefault(name, where)

    def all(self) -> tuple[str, ...]:
        unset = [
            f"{where}: variable {name} is not set: nothing stands in its place"
            for name, where in self._unset.items()
        ]
        return (*unset, *self._notes)


def _project_name(root: Value, variables: Mapping[str, str], folder: str) -> str:
    written = root.child("name")
    if variables.get("COMPOSE_PROJECT_NAME"):
        return dns_label(variables["COMPOSE_PROJECT_NAME"]) or "app"
    if written:
        return written.label()
    return dns_label(folder.rpartition("/")[2]) or "app"


def _note_networks(root: Value, notes: _Notes) -> None:
    services = [value for _, value in root.child("services").members()]
    if root.child("networks") or any(
        isinstance(service.value, dict) and service.child("networks") for service in services
    ):
        notes.add("networks are ignored: all services share one localhost")


# Which services


def _listed(variables: Mapping[str, str]) -> list[str]:
    names = (name.strip() for name in variables.get("COMPOSE_PROFILES", "").split(","))
    return [name for name in names if name]


def _active(root: Value, profiles: set[str]) -> tuple[list[tuple[str, Value]], frozenset[str]]:
    """The services that run, and the names of those that do not."""
    services = root.child("services")
    if not services or not services.members():
        services.fail("there is no service", "add one")
    active = []
    inactive = set()
    for name, value in services.members():
        if not isinstance(value.value, dict):
            value.wrong_type("a mapping")
        if _is_active(value, profiles):
            active.append((name, value))
        else:
            inactive.add(name)
    if not active:
        services.fail("no service is active", "activate a profile: --profile, or COMPOSE_PROFILES")
    return active, frozenset(inactive)


def _is_active(service: Value, profiles: set[str]) -> bool:
    """One of its profiles is active, if it has any, and it is not scaled to nothing."""
    wanted = set(service.child("profiles").texts())
    copies = (service.child("scale"), service.child("deploy").child("replicas"))
    if any(count and count.integer(0, 1_000_000) == 0 for count in copies):
        return False
    return not wanted or bool(wanted & profiles) or "*" in profiles


def _refuse_same_label(services: Sequence[ComposeService]) -> None:
    known: dict[str, ComposeService] = {}
    for service in services:
        other = known.setdefault(service.label, service)
        if other is not service:
            service.at.fail(
                f"{service.name!r} and {other.name!r} are both called {service.label} here",
                "rename one of them",
            )


def _note_names(services: Sequence[ComposeService], notes: _Notes) -> None:
    for service in services:
        for name in (service.name, *service.aliases):
            if not is_host_name(name):
                notes.add(
                    f"{service.at.where}: {name!r} is not a host name: use {service.label!r} or"
                    " localhost"
                )


# What has to hold between them


def _ends_first(turn: Turn) -> bool:
    """It listens on nothing while the others run."""
    return turn.role is Role.TASK or (turn.one_time and turn.role is Role.CONTAINER)


def _refuse_unknown_health(ordered: Sequence[Turn]) -> None:
    healths = {turn.service.name: turn for turn in ordered}
    for turn in ordered:
        for dependency in turn.service.depends_on:
            target = healths.get(dependency.service)
            if target is None or dependency.condition != "service_healthy" or target.one_time:
                continue
            if target.service.health is None and not health_port(target.service):
                dependency.at.fail(
                    f"waits for {dependency.service!r} to be healthy, which has no healthcheck",
                    f"give {dependency.service!r} a healthcheck, or its port under expose",
                )
