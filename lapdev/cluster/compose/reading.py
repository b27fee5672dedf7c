"""A project's services, read from its merged document into checked values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lapdev.cluster.compose.dockerfile import ImageHints, image_hints
from lapdev.cluster.compose.extension import read_extension
from lapdev.cluster.compose.health import healthcheck, hooks
from lapdev.cluster.compose.interpolation import Lookup
from lapdev.cluster.compose.keys import IGNORED, SERVICE, SILENT
from lapdev.cluster.compose.mounts import grants, service_mounts
from lapdev.cluster.compose.ports import distinct, exposed_ports, published_ports
from lapdev.cluster.compose.quantities import cores, seconds, size
from lapdev.cluster.compose.running import Launch, launch
from lapdev.cluster.compose.service import (
    ComposeService,
    Condition,
    Dependency,
    Extension,
    Limits,
    Port,
)
from lapdev.cluster.compose.sources import Reader
from lapdev.cluster.compose.values import Value, scalar_text

Note = Callable[[str], None]

_RESTARTS = ("no", "always", "unless-stopped", "on-failure")
_DEPLOY_RESTARTS = {"none": "no", "on-failure": "on-failure", "any": "always"}
_DEPLOY_KEYS = (
    *("mode", "replicas", "labels", "update_config", "rollback_config", "resources"),
    *("restart_policy", "placement", "endpoint_mode"),
)
_REPLICAS_HINT = (
    "all containers of the pod share localhost, and two of a kind would need one port: leave it out"
)
# Of a Dockerfile's variables, those that would hide what this machine has.
_OF_THE_MACHINE = re.compile(r"PATH|HOME|USER|SHELL|TERM|LD_.*|LANG|LC_.*")


@dataclass(frozen=True, slots=True)
class Reading:
    """What services are read with."""

    reader: Reader
    folder: str
    lookup: Lookup
    note: Note


def read_service(name: str, service: Value, around: Reading) -> ComposeService:
    """The service as it says itself; what it says about others is not yet checked.

    Raises:
        ConfigError: names file, line and path.
    """
    service.only(SERVICE | SILENT | IGNORED)
    _note_ignored(service, around.note)
    _refuse_copies(service)
    extension = read_extension(service.child("x-lapdev"))
    hints, context = _image_hints(service, around)
    mounts = service_mounts(service, around.note)
    started = launch(
        service, extension.command, hints, Launch(context, around.folder, mounts, around.reader)
    )
    label = Value(name, service.path, service.places).label()
    return ComposeService(
        name=name,
        label=label,
        at=service,
        image=service.child("image").text(""),
        words=started.words,
        working_dir=started.working_dir,
        env=_environment(service, {k: started.localise(v) for k, v in hints.env.items()}, around),
        ports=_ports(service, extension, hints if started.is_images_own else None, around.note),
        depends_on=_dependencies(service),
        health=healthcheck(service, hints),
        restart=_restart(service),
        mounts=mounts,
        configs=grants(service.child("configs"), "/", around.note),
        secrets=grants(service.child("secrets"), "/run/secrets", around.note),
        resources=_resources(service),
        hooks=hooks(service),
        stop_grace=seconds(service.child("stop_grace_period"), 10.0),
        labels=_labels(service),
        aliases=_aliases(service),
        extra_hosts=_extra_hosts(service, around.note),
        extension=extension,
    )


def _note_ignored(service: Value, note: Note) -> None:
    names = [name for name, item in service.members() if name in IGNORED and item]
    signal = service.child("stop_signal").text("SIGTERM")
    if signal.upper().removeprefix("SIG") not in ("TERM", "15"):
        names.append(f"stop_signal {signal} (SIGTERM is sent)")
    if names:
        note(f"{service.where}: ignored: {', '.join(names)}")


def _refuse_copies(service: Value) -> None:
    deploy = service.child("deploy")
    if deploy:
        deploy.only(_DEPLOY_KEYS)
    for count in (service.child("scale"), deploy.child("replicas")):
        if count.integer(0, 1_000_000, default=1) > 1:
            count.fail("more than one container of a service is not supported", _REPLICAS_HINT)


# The image


def _image_hints(service: Value, around: Reading) -> tuple[ImageHints, str]:
    """What its Dockerfile says, and the build context's folder; empty without one here."""
    build = service.child("build")
    if not build:
        return ImageHints(), ""
    context = build.child("context").text(".")
    if not context.startswith("/"):
        if "://" in context or context.startswith("git@"):
            around.note(f"{build.where}: the Dockerfile of {context} is elsewhere, and not read")
            return ImageHints(), ""
        context = around.reader.join(around.folder, context)
    args = {name: item.text("") for name, item in build.child("args").members()}
    target = build.child("target").text("")
    if build.child("dockerfile_inline"):
        return image_hints(build.child("dockerfile_inline").text(), target, args), context
    path = around.reader.join(context, build.child("dockerfile").text("Dockerfile"))
    if not around.reader.exists(path):
        around.note(f"{build.where}: there is no {path}, which could say what to run")
        return ImageHints(), context
    return image_hints(around.reader.text(path), target, args), context


# Environment


def _environment(service: Value, image: dict[str, str], around: Reading) -> dict[str, str]:
    found = {n: v for n, v in image.items() if not _OF_THE_MACHINE.fullmatch(n)}
    for item in service.child("env_file").items():
        found |= _env_file(item, around)
    for name, item in _pairs(service.child("environment")):
        if not name or "=" in name or "\0" in name:
            item.fail(f"{name!r} is not a variable's name", "leave out '=' and NUL")
        value = around.lookup(name) if item.value is None else item.text()
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return {name: value for name, value in found.items() if name}


def _pairs(value: Value) -> list[tuple[str, Value]]:
    """A mapping's members; a list that could not be made one has something else in it."""
    for item in value.items() if isinstance(value.value, list) else ():
        if isinstance(item.value, (dict, list)):
            item.fail("is no text", "write - NAME=value, or NAME: value without the dash")
    return value.members()


def _env_file(item: Value, around: Reading) -> dict[str, str]:
    required, raw, path = True, False, item
    if isinstance(item.value, dict):
        item.only(("path", "required", "format"))
        path = item.child("path")
        required = item.child("required").boolean(default=True)
        raw = item.child("format").text("") == "raw"
    where = around.reader.join(around.folder, path.text())
    if not around.reader.exists(where):
        if not required:
            return {}
        path.fail(f"there is no file {where}", "make it, or write required: false")
    return around.reader.variables(where, around.lookup, raw=raw)


# Order


def _dependencies(service: Value) -> tuple[Dependency, ...]:
    found = {}
    for name, item in service.child("depends_on").members():
        item.only(("condition", "restart", "required"))
        condition = item.child("condition")
        word = condition.text(Condition.STARTED)
        if word not in tuple(Condition):
            condition.fail(f"{word!r} is no condition", f"write one of {', '.join(Condition)}")
        required = item.child("required").boolean(default=True)
        found[name] = Dependency(name, Condition(word), required, item)
    for item in service.child("links").items():
        name = item.text().partition(":")[0]
        found.setdefault(name, Dependency(name, Condition.STARTED, True, item))
    return tuple(found.values())


def _restart(service: Value) -> str:
    written = service.child("restart")
    word, _, count = scalar_text(written.value).partition(":") if written else ("", "", "")
    if written.value is False:  # YAML's reading of a bare `no` in other parsers
        word = "no"
    if word and (word not in _RESTARTS or (count and not count.isdecimal())):
        written.fail(f"{word!r} is no restart policy", f"write one of {', '.join(_RESTARTS)}")
    if word:
        return word
    condition = service.child("deploy").child("restart_policy").child("condition")
    if not condition:
        return ""
    if condition.text() not in _DEPLOY_RESTARTS:
        condition.fail(f"{condition.text()!r} is no condition", "write none, on-failure or any")
    return _DEPLOY_RESTARTS[condition.text()]


# Ports and names


def _ports(
    service: Value, extension: Extension, image: ImageHints | None, note: Note
) -> tuple[Port, ...]:
    found = published_ports(service.child("ports"), note)
    found += exposed_ports(service.child("expose"))
    own = (*((extension.http,) if extension.http else ()), *extension.tcp)
    found += [Port(number, extension.at) for number in own]
    if image:
        build = service.child("build")
        found += [Port(number, build, is_guess=True) for number in image.ports]
    return distinct(found)


def _aliases(service: Value) -> tuple[str, ...]:
    names = [service.child(key).text("") for key in ("container_name", "hostname")]
    # What a link calls another service: it is at localhost, too.
    names += [item.text().partition(":")[2] for item in service.child("links").items()]
    for _, network in service.child("networks").members():
        names += network.child("aliases").texts()
    return tuple(dict.fromkeys(name for name in names if name))


def _extra_hosts(service: Value, note: Note) -> tuple[tuple[str, str], ...]:
    hosts = service.child("extra_hosts")
    pairs: list[tuple[Value, str, str]] = []
    if isinstance(hosts.value, dict):
        pairs = [(v, name, a.text()) for name, v in hosts.members() for a in (v,)]
    else:
        for item in hosts.items():
            name, _, address = re.sub(r"[=:]", " ", item.text(), count=1).partition(" ")
            pairs.append((item, name, address))
    found = []
    for at, name, written in pairs:
        address = written.strip("[]")
        if address == "host-gateway":
            note(f"{at.where}: ignored: {name} (pods do not reach this machine's own ports)")
        elif not re.fullmatch(r"[0-9a-fA-F.:]+", address):
            at.fail(f"{written!r} is no address", "write name:address")
        else:
            found.append((name, address))
    return tuple(found)


def _labels(service: Value) -> dict[str, str]:
    return {name: item.text("") for name, item in _pairs(service.child("labels"))}


def _resources(service: Value) -> Limits:
    resources = service.child("deploy").child("resources")
    limits, requests = resources.child("limits"), resources.child("reservations")
    memory = size(limits.child("memory") or service.child("mem_limit"))
    least = size(requests.child("memory") or service.child("mem_reservation"))
    cpu = cores(limits.child("cpus") or service.child("cpus"))
    return Limits(
        limits={k: v for k, v in (("cpu", cpu), ("memory", str(memory or ""))) if v},
        requests={
            k: v
            for k, v in (("cpu", cores(requests.child("cpus"))), ("memory", str(least or "")))
            if v
        },
    )
