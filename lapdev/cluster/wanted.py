"""What a namespace's spec asks for, checked and ready to compare with what runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lapdev.cluster.driver import NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.cluster.manifests import (
    Claim,
    Configs,
    Container,
    PodFacts,
    Workload,
    WorkloadKind,
    check_configs,
    is_idle,
    local_command,
    parse_workload,
    pod_env,
)
from lapdev.cluster.manifests.images import known_command
from lapdev.cluster.pod_digests import pod_digests
from lapdev.errors import ConfigError, NoRoute
from lapdev.model import Service, ServicePort

COMPLAINTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class WantedWorkload:
    name: str
    facts: Workload
    sidecar: SidecarPlan | None
    digest: str
    """Equal digests: the same pods will do. Neither replicas nor a schedule are part of it; what
    the pods refer to in ConfigMaps and Secrets is. Of a Job: equal digests, the same run."""
    container_digests: dict[str, str] = field(default_factory=dict)
    """By name, init containers too: what is written, its local command, what it refers to."""
    pod_digest: str = ""
    """Everything else of the pod."""
    claims_of: str = ""
    """As the spec says it."""


@dataclass(frozen=True, slots=True)
class WantedNamespace:
    name: str
    workloads: dict[str, WantedWorkload]
    services: dict[str, Service]
    configs: Configs
    also_known_as: frozenset[str] = frozenset()
    """Namespaces that its objects were written for: apps may know services by these."""
    read_from: dict[str, WorkloadSpec] = field(default_factory=dict)
    """What each workload was read from."""


def wanted_namespace(spec: NamespaceSpec, last: WantedNamespace | None = None) -> WantedNamespace:
    """The spec, every manifest in it known to be runnable here.

    A workload that says what it said in `last`, of the same configs, is that very object again.

    Raises:
        ConfigError: a manifest cannot run here; names object, container and remedy.
    """
    workloads: dict[str, WantedWorkload] = {}
    read_from: dict[str, WorkloadSpec] = {}
    configs = {(item.kind, item.name): item for item in spec.configs}
    known = last.read_from if last is not None and last.configs == configs else {}
    idle: list[tuple[Workload, Container]] = []
    for item in spec.workloads:
        if item.name in workloads:
            raise ConfigError(f"namespace {spec.name}: workload {item.name} is there twice")
        if last is not None and known.get(item.name) == item:
            workloads[item.name] = last.workloads[item.name]
        else:
            facts = parse_workload(item.manifest)
            idle += [(facts, each) for each in facts.pod.all_containers() if is_idle(facts, each)]
            if not idle:
                workloads[item.name] = _wanted_workload(item, facts, configs)
        read_from[item.name] = item
    _refuse_idle(idle)
    services = {item.name: item for item in spec.services}
    written_for = frozenset(_written_for(item.manifest) for item in spec.workloads)
    return WantedNamespace(spec.name, workloads, services, configs, written_for, read_from)


def _written_for(manifest: dict[str, Any]) -> str:
    """The namespace that `kubectl apply` would put it in, lower case."""
    name = manifest["metadata"].get("namespace") or "default"
    return name.lower() if isinstance(name, str) else "default"


def _refuse_idle(idle: Sequence[tuple[Workload, Container]]) -> None:
    """All at once, briefly: an application is made ready in one go, not in ten."""
    for number, (workload, container) in enumerate(idle):
        try:
            local_command(workload, container)
        except ConfigError as exc:
            hint = "; ".join((exc.hint, *_briefly(idle[number + 1 :])))
            raise ConfigError(str(exc), hint=hint) from exc


def _briefly(idle: Sequence[tuple[Workload, Container]]) -> Iterator[str]:
    names = [
        f"{workload.where} {container.name}" + (f" ({line})" if line else "")
        for workload, container in idle[:COMPLAINTS_SHOWN]
        for line in (known_command(container.image, container.args),)
    ]
    if len(idle) > COMPLAINTS_SHOWN:
        names.append(f"{len(idle) - COMPLAINTS_SHOWN} more")
    if names:
        yield f"the same for {', '.join(names)}"


def _wanted_workload(spec: WorkloadSpec, facts: Workload, configs: Configs) -> WantedWorkload:
    for container in facts.pod.all_containers():
        pod_env(container, PodFacts(spec.name, "", ""), {}, configs)
    check_configs(facts, configs)
    sidecar = dataclasses.asdict(spec.sidecar) if spec.sidecar else None
    digests = pod_digests(spec.manifest, facts.pod, configs, sidecar)
    return WantedWorkload(
        spec.name,
        facts,
        spec.sidecar,
        digests.whole,
        digests.containers,
        digests.pod,
        spec.claims_of,
    )


def keeps_data(wanted: WantedNamespace) -> bool:
    """Something of what its pods write stays when all of them are gone: they have claims."""
    return any(
        isinstance(volume.source, Claim)
        # Else one that is the pod's own goes with the pod.
        and (not volume.source.per_pod or workload.facts.kind is WorkloadKind.STATEFUL_SET)
        for workload in wanted.workloads.values()
        for volume in workload.facts.pod.volumes
    )


def endpoint_port(workload: WantedWorkload, service: str, port: ServicePort) -> int | None:
    """Where a pod of the workload takes the service port: at its sidecar, or at a container.

    None when the port's target is a name that no container of the workload has.
    """
    if workload.sidecar:
        for guarded in workload.sidecar.ports:
            if (guarded.service, guarded.service_port) == (service, port.port):
                return guarded.proxy_port
    return workload.facts.pod.port_named(port.target)


def service_port(wanted: WantedNamespace | None, service: str, port: int) -> ServicePort:
    """The port as the service declares it. Raises NoRoute when there is none."""
    for candidate in (
        wanted.services[service].ports if wanted and service in wanted.services else ()
    ):
        if candidate.port == port:
            return candidate
    name = wanted.name if wanted else "an unknown namespace"
    raise NoRoute(f"{name} has no service {service} with port {port}")
