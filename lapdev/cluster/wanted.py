"""What a namespace's spec asks for, checked and ready to compare with what runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from lapdev.cluster.driver import NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.cluster.manifests import (
    Configs,
    PodFacts,
    Workload,
    local_command,
    parse_workload,
    pod_env,
)
from lapdev.errors import ConfigError, NoRoute
from lapdev.model import Service, ServicePort


@dataclass(frozen=True, slots=True)
class WantedWorkload:
    name: str
    facts: Workload
    sidecar: SidecarPlan | None
    digest: str
    """Equal digests: the same pods will do. The number of replicas is not part of it."""


@dataclass(frozen=True, slots=True)
class WantedNamespace:
    name: str
    workloads: dict[str, WantedWorkload]
    services: dict[str, Service]
    configs: Configs


def wanted_namespace(spec: NamespaceSpec) -> WantedNamespace:
    """The spec, every manifest in it known to be runnable here.

    Raises:
        ConfigError: a manifest cannot run here; names object, container and remedy.
    """
    workloads: dict[str, WantedWorkload] = {}
    configs = {(item.kind, item.name): item for item in spec.configs}
    for item in spec.workloads:
        if item.name in workloads:
            raise ConfigError(f"namespace {spec.name}: workload {item.name} is there twice")
        workloads[item.name] = _wanted_workload(item, configs)
    services = {item.name: item for item in spec.services}
    return WantedNamespace(spec.name, workloads, services, configs)


def _wanted_workload(spec: WorkloadSpec, configs: Configs) -> WantedWorkload:
    facts = parse_workload(spec.manifest)
    for container in facts.pod.all_containers():
        local_command(facts, container)
        pod_env(container, PodFacts(spec.name, "", ""), {}, configs)
    sidecar = dataclasses.asdict(spec.sidecar) if spec.sidecar else None
    template = json.dumps([spec.manifest["spec"]["template"], sidecar], sort_keys=True, default=str)
    digest = hashlib.sha256(template.encode()).hexdigest()
    return WantedWorkload(spec.name, facts, spec.sidecar, digest)


def selects(service: Service, workload: WantedWorkload) -> bool:
    """The service serves the workload's pods."""
    return service.selector.items() <= workload.facts.pod.labels.items()


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
