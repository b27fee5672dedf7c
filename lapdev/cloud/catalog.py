"""What an environment's manifests offer: its services and the workloads behind them.

Facts in, facts or `ConfigError` out. A branch sees its base's objects, with its own versions of
the workloads it changed.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lapdev.cluster.manifests import (
    WORKLOAD_KINDS,
    Manifests,
    Workload,
    WorkloadKind,
    check_references,
    merge_patch,
    parse_objects,
    parse_workload,
)
from lapdev.errors import ConfigError, NotFound
from lapdev.model import Environment, PortMap, Service, ServicePort

Manifest = dict[str, Any]


REMEMBERED = 16
"""Sets of objects whose meaning is kept: of environments that are asked about in turn."""

Parse = Callable[[Sequence[Manifest]], Manifests]

_RUN_TO_THEIR_END = (WorkloadKind.JOB, WorkloadKind.CRON_JOB)


@dataclass(frozen=True, slots=True)
class WorkloadEdit:
    """What a branch wants to change: a whole manifest or, without one, a patch."""

    manifest: Manifest | None = None
    patch: dict[str, Any] = field(default_factory=dict)
    """Container name → changes, as `merge_patch` takes it; "" is the only container."""


def flatten(objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The objects with every `List` replaced by its items, each known to have a name.

    Raises:
        ConfigError: something is not an object, or has no name.
    """
    flat: list[Manifest] = []
    for item in objects:
        if item.get("kind") == "List" and isinstance(item.get("items"), list):
            inner = [i for i in item["items"] if isinstance(i, dict) and i.get("kind") != "List"]
            if len(inner) != len(item["items"]):
                raise ConfigError("a List may hold Kubernetes objects only", hint="unpack it")
            flat.extend(inner)
        else:
            flat.append(item)
    for place, item in enumerate(flat, 1):
        metadata = item.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise ConfigError(
                f"object {place} ({item.get('kind')!r:.60}) has no name", hint="set metadata.name"
            )
    return tuple(flat)


class Parsed:
    """`parse_objects`, remembering what the objects it met last mean.

    They are compared, not known by their environment's generation: a base gets a new one with
    every change of a branch, and has the same objects.
    """

    def __init__(self) -> None:
        self._known: deque[tuple[tuple[Manifest, ...], Manifests]] = deque(maxlen=REMEMBERED)
        """The one asked for last comes first."""

    def __call__(self, objects: Sequence[Manifest]) -> Manifests:
        wanted = tuple(objects)
        found = next((known for known in self._known if known[0] == wanted), None)
        if found is None:
            found = (wanted, parse_objects(wanted))
        else:
            self._known.remove(found)
        self._known.appendleft(found)
        return found[1]


def effective(
    environment: Environment, base: Environment | None, parse: Parse = parse_objects
) -> Manifests:
    """The objects the environment's requests meet."""
    if base is None:
        return parse(environment.manifests)
    found = parse(base.manifests)
    own = {item["metadata"]["name"]: parse_workload(item) for item in environment.manifests}
    workloads = tuple(own.get(workload.name, workload) for workload in found.workloads)
    return dataclasses.replace(found, workloads=workloads)


def service_port(manifests: Manifests, service: str, port: int) -> ServicePort:
    """The port of the service.

    Raises:
        NotFound: no such service or port; names those there are.
        ConfigError: the service has no pods that could answer.
    """
    known = service_named(manifests, service)
    _refuse_external(known)
    for candidate in known.ports:
        if candidate.port == port:
            return candidate
    ports = ", ".join(str(candidate.port) for candidate in known.ports) or "none"
    raise NotFound(f"service {service} has no port {port}", hint=f"its ports are: {ports}")


def service_named(manifests: Manifests, name: str) -> Service:
    """The service of that name.

    Raises:
        NotFound: there is none; names those there are.
    """
    for service in manifests.services:
        if service.name == name:
            return service
    names = ", ".join(sorted(service.name for service in manifests.services)) or "none"
    raise NotFound(f"there is no service {name!r:.80}", hint=f"the services are: {names}")


def interceptable(manifests: Manifests, name: str) -> Service:
    """The service of that name, when a laptop can take its traffic.

    Raises:
        NotFound: there is none; names those there are.
        ConfigError: nothing of ours stands before its pods; says why.
    """
    service = service_named(manifests, name)
    _refuse_external(service)
    if service.headless:
        raise ConfigError(
            f"Service/{service.name} is headless: apps reach its pods by their own addresses, "
            "so nothing stands before them that could send their traffic elsewhere",
            hint="intercept a Service of the same pods that has an address of its own",
        )
    return service


def _refuse_external(service: Service) -> None:
    if service.external_name:
        raise ConfigError(
            f"Service/{service.name} is another name for {service.external_name} and has no pods",
            hint="name a Service that selects pods",
        )


def workload_behind(manifests: Manifests, service: Service) -> Workload:
    """The one workload whose pods the service selects; one that runs to its end does not count
    beside one that stays.

    Raises:
        ConfigError: none, or several.
    """
    found = [workload for workload in manifests.workloads if service.selects(workload.pod.labels)]
    found = [w for w in found if w.kind not in _RUN_TO_THEIR_END] or found
    if len(found) == 1:
        return found[0]
    names = ", ".join(workload.name for workload in found)
    raise ConfigError(
        f"Service/{service.name}: its selector matches "
        + (f"several workloads: {names}" if found else "no workload's pod labels"),
        hint="let spec.selector name the labels of exactly one workload's pod template",
    )


def log_source(
    environment: Environment,
    base: Environment | None,
    workload: str,
    container: str,
    parse: Parse = parse_objects,
) -> tuple[Environment, str]:
    """(the environment whose pods they are, name of the workload) for somebody who wants to read
    what a workload of `environment` prints. An empty `workload` means the only one.

    Raises:
        ConfigError: none is named, and there are several; names them.
        NotFound: no such workload or container; names those there are.
    """
    known = {found.name: found for found in effective(environment, base, parse).workloads}
    names = ", ".join(sorted(known))
    if not workload and len(known) == 1:
        workload = next(iter(known))
    if not workload:
        raise ConfigError(f"{environment.name} has several workloads", hint=f"name one of: {names}")
    if workload not in known:
        raise NotFound(f"there is no workload {workload!r:.80}", hint=f"the workloads are: {names}")
    containers = [found.name for found in known[workload].pod.all_containers()]
    if container and container not in containers:
        raise NotFound(
            f"{workload} has no container {container!r:.80}",
            hint=f"its containers are: {', '.join(containers)}",
        )
    changed = any(item["metadata"]["name"] == workload for item in environment.manifests)
    return (environment if base is None or changed else base), workload


def port_maps(service: Service, wanted: Sequence[PortMap]) -> tuple[PortMap, ...]:
    """The ports an intercept takes: those wanted or, when none is named, all of the service.

    A port without a wish of its own is taken to the local port its app listens on in the pod.

    Raises:
        ConfigError: a port is named twice.
        NotFound: the service has no such port.
    """
    if not wanted:
        return tuple(
            PortMap(port.port, port.target if isinstance(port.target, int) else port.port)
            for port in service.ports
        )
    seen: set[int] = set()
    for mapping in wanted:
        service_port(Manifests((), (service,)), service.name, mapping.service_port)
        if mapping.service_port in seen:
            raise ConfigError(f"service port {mapping.service_port} is named twice")
        seen.add(mapping.service_port)
    return tuple(wanted)


def changed_workload(
    workload: str,
    own: Manifest | None,
    base: Sequence[Manifest],
    change: WorkloadEdit,
    parse: Parse = parse_objects,
) -> Manifest:
    """A branch's next version of a workload: another manifest, or a patch of the present one.

    Raises:
        NotFound: the base has no such workload; names those there are.
        ConfigError: the manifest or the patch is wrong.
    """
    original = base_workload(workload, base)
    if change.manifest is not None:
        changed = _one_workload(change.manifest, original)
    else:
        present = own if own is not None else original
        changed = merge_patch(present, _name_container(present, change.patch))
    parsed = parse_workload(changed)
    check_references(Manifests((parsed,), (), configs=parse(base).configs))
    return changed


def _one_workload(manifest: Manifest, original: Manifest) -> Manifest:
    flat = flatten([manifest])
    parse_objects(flat)
    kind, name = original["kind"], original["metadata"]["name"]
    if [(item.get("kind"), item["metadata"]["name"]) for item in flat] != [(kind, name)]:
        raise ConfigError(
            f"the manifest is not one workload named {name}",
            hint=f"set kind: {kind} and metadata.name: {name}",
        )
    return flat[0]


def base_workload(workload: str, base: Sequence[Manifest]) -> Manifest:
    """The base's version of a workload.

    Raises:
        NotFound: there is none; names those there are.
    """
    workloads = {
        item["metadata"]["name"]: item for item in base if item.get("kind") in WORKLOAD_KINDS
    }
    if workload not in workloads:
        names = ", ".join(sorted(workloads)) or "none"
        raise NotFound(f"there is no workload {workload!r:.80}", hint=f"the workloads are: {names}")
    return workloads[workload]


def _name_container(manifest: Manifest, patch: dict[str, Any]) -> dict[str, Any]:
    """The patch with the empty container name replaced: it stands for the only container."""
    if "" not in patch:
        return patch
    names = [container.name for container in parse_workload(manifest).pod.containers]
    if len(names) > 1 or len(patch) > 1:
        raise ConfigError(
            "the patch does not say which container it changes",
            hint=f"name one of: {', '.join(names)}",
        )
    return {names[0]: patch[""]}
