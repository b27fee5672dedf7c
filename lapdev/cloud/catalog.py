"""What an environment's manifests offer: its services and the workloads behind them.

Facts in, facts or `ConfigError` out. A branch sees its base's objects, with its own versions of
the workloads it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lapdev.cluster.manifests import Manifests, Workload, WorkloadKind, merge_patch, parse_objects
from lapdev.errors import ConfigError, NotFound
from lapdev.model import Environment, PortMap, Protocol, Service, ServicePort

Manifest = dict[str, Any]

KINDS = frozenset(WorkloadKind)

PREVIEW_MARK = "lapdev.dev/preview"
"""Label or annotation of a Service that asks for preview URLs, with the value "true"."""


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


def effective(environment: Environment, base: Environment | None) -> Manifests:
    """The objects the environment's requests meet."""
    if base is None:
        return parse_objects(environment.manifests)
    own = {item["metadata"]["name"]: item for item in environment.manifests}
    return parse_objects(
        own.get(item["metadata"]["name"], item) if item.get("kind") in KINDS else item
        for item in base.manifests
    )


def marked_previews(manifests: Manifests) -> tuple[tuple[str, int], ...]:
    """(service, port) of every port that can carry HTTP of a Service that asks for previews."""
    return tuple(
        (service.name, port.port)
        for service in manifests.services
        if service.labels.get(PREVIEW_MARK) == "true"
        for port in service.ports
        if port.protocol is not Protocol.TCP
    )


def service_port(manifests: Manifests, service: str, port: int) -> ServicePort:
    """The port of the service.

    Raises:
        NotFound: no such service or port; names those there are.
    """
    known = service_named(manifests, service)
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


def workload_behind(manifests: Manifests, service: Service) -> Workload:
    """The one workload whose pods the service selects.

    Raises:
        ConfigError: none, or several.
    """
    found = [
        workload
        for workload in manifests.workloads
        if service.selector.items() <= workload.pod.labels.items()
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(workload.name for workload in found)
    raise ConfigError(
        f"Service/{service.name}: its selector matches "
        + (f"several workloads: {names}" if found else "no workload's pod labels"),
        hint="let spec.selector name the labels of exactly one workload's pod template",
    )


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
    workload: str, own: Manifest | None, base: Sequence[Manifest], change: WorkloadEdit
) -> Manifest:
    """A branch's next version of a workload: another manifest, or a patch of the present one.

    Raises:
        NotFound: the base has no such workload; names those there are.
        ConfigError: the manifest or the patch is wrong.
    """
    original = base_workload(workload, base)
    if change.manifest is not None:
        flat = flatten([change.manifest])
        parsed = parse_objects(flat)
        if [found.name for found in parsed.workloads] != [workload] or parsed.services:
            raise ConfigError(
                f"the manifest is not one workload named {workload}",
                hint=f"set kind: {original['kind']} and metadata.name: {workload}",
            )
        return flat[0]
    present = own if own is not None else original
    return merge_patch(present, _name_container(present, change.patch))


def base_workload(workload: str, base: Sequence[Manifest]) -> Manifest:
    """The base's version of a workload.

    Raises:
        NotFound: there is none; names those there are.
    """
    workloads = {item["metadata"]["name"]: item for item in base if item.get("kind") in KINDS}
    if workload not in workloads:
        names = ", ".join(sorted(workloads)) or "none"
        raise NotFound(f"there is no workload {workload!r:.80}", hint=f"the workloads are: {names}")
    return workloads[workload]


def _name_container(manifest: Manifest, patch: dict[str, Any]) -> dict[str, Any]:
    """The patch with the empty container name replaced: it stands for the only container."""
    if "" not in patch:
        return patch
    names = [item["name"] for item in manifest["spec"]["template"]["spec"]["containers"]]
    if len(names) > 1 or len(patch) > 1:
        raise ConfigError(
            "the patch does not say which container it changes",
            hint=f"name one of: {', '.join(names)}",
        )
    return {names[0]: patch[""]}
