"""What the objects of an environment say about each other, and whether it is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lapdev.cluster.manifests.config import ConfigKind, Configs, Reference, find_config
from lapdev.cluster.manifests.container import Container
from lapdev.cluster.manifests.ingress import IngressHost
from lapdev.cluster.manifests.objects import Manifests
from lapdev.cluster.manifests.pod import ConfigFiles, PodTemplate, Projected, Volume
from lapdev.cluster.manifests.workload import Workload
from lapdev.errors import ConfigError
from lapdev.model import Service


def container_references(container: Container) -> Iterator[Reference]:
    """What the container's environment is made of."""
    for source in container.env_from:
        where = f"{container.where}: envFrom"
        yield Reference(where, source.kind, source.name, optional=source.optional)
    for variable in container.env:
        if variable.key:
            key = variable.key
            where = f"{container.where}: {variable.name}"
            yield Reference(where, key.kind, key.name, (key.key,), key.optional)


def volume_references(volume: Volume) -> Iterator[Reference]:
    """What the volume's files are made of."""
    if not isinstance(volume.source, Projected):
        return
    for source in volume.source.sources:
        if isinstance(source, ConfigFiles):
            keys = tuple(key for key, _, _ in source.items)
            where = f"volume {volume.name}"
            yield Reference(where, source.kind, source.name, keys, source.optional)


def pod_references(pod: PodTemplate) -> Iterator[Reference]:
    """Everything its containers and volumes refer to."""
    for container in pod.all_containers():
        yield from container_references(container)
    for volume in pod.volumes:
        yield from volume_references(volume)


def refers_to(pod: PodTemplate) -> frozenset[tuple[ConfigKind, str]]:
    """The ConfigMaps and Secrets that the pod's environment and files are made of."""
    return frozenset((found.kind, found.name) for found in pod_references(pod))


def check_configs(workload: Workload, configs: Configs) -> None:
    """The ConfigMaps and Secrets that the workload's pods need are there, with every key.

    Raises:
        ConfigError: names container or volume, object, key, and the remedy.
    """
    for container in workload.pod.all_containers():
        for reference in container_references(container):
            find_config(reference, configs)
    for volume in workload.pod.volumes:
        for reference in volume_references(volume):
            named = dataclasses.replace(reference, where=f"{workload.where}: {reference.where}")
            find_config(named, configs)


def check_references(manifests: Manifests) -> None:
    """Everything that the objects need of each other is among them.

    Raises:
        ConfigError: names the object that refers, what it refers to, and the remedy.
    """
    configs = manifests.configs_by_name()
    for workload in manifests.workloads:
        check_configs(workload, configs)
    for service in manifests.services:
        _check_targets(service, manifests)
    services = {service.name: service for service in manifests.services}
    for ingress in manifests.ingresses:
        _check_backends(ingress, services)


def _check_targets(service: Service, manifests: Manifests) -> None:
    """A target port given by name is a port of some workload, where the service has any."""
    behind = [workload for workload in manifests.workloads if service.selects(workload.pod.labels)]
    for port in service.ports:
        if not behind or any(item.pod.port_named(port.target) for item in behind):
            continue
        names = sorted(
            {known.name for item in behind for c in item.pod.serving() for known in c.ports} - {""}
        )
        raise ConfigError(
            f"Service/{service.name}: port {port.port} leads to {port.target!r}, which no container"
            f" port of {', '.join(item.where for item in behind)} is called",
            hint=f"set targetPort to a number or to one of: {', '.join(names) or 'none'}",
        )


def _check_backends(ingress: IngressHost, services: dict[str, Service]) -> None:
    for route in ingress.routes:
        where = f"Ingress host {ingress.name}: path {route.path}"
        service = services.get(route.service)
        if service is None:
            names = ", ".join(sorted(services)) or "none"
            raise ConfigError(
                f"{where}: there is no Service {route.service}", hint=f"the services are: {names}"
            )
        if service.external_name:
            raise ConfigError(
                f"{where}: Service {route.service} is an ExternalName and has no pods",
                hint="lead the path to a Service that selects pods",
            )
        if route.port not in {port.port for port in service.ports}:
            ports = ", ".join(str(port.port) for port in service.ports) or "none"
            raise ConfigError(
                f"{where}: Service {route.service} has no port {route.port}",
                hint=f"its ports are: {ports}",
            )
