"""Which port each sidecar of a namespace listens on, and for whom. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from lapdev.errors import ConfigError
from lapdev.manager.workloads import Workload
from lapdev.model import Service, ServicePort, SidecarPort

FIRST_PROXY_PORT = 15001
SIDECAR_ADMIN_PORT = 15090


class ProxyPorts:
    """Which ports the sidecars listen on. Counts upward in the order Services are written, so that
    a Service added at the end moves no port of another."""

    def __init__(self, services: Iterable[Service]) -> None:
        targets = (port.target for service in services for port in service.ports)
        # A container may listen on a port it does not declare: what Services target is taken too.
        self._reserved = {SIDECAR_ADMIN_PORT, *(t for t in targets if isinstance(t, int))}
        self._ports: dict[str, list[SidecarPort]] = {}
        self._taken: dict[str, set[int]] = {}

    def stand_before(
        self, service: Service, port: ServicePort, behind: list[Workload]
    ) -> ServicePort:
        """The port with a proxy port for target: the same in each workload behind the Service."""
        if not behind:
            return port
        targets = {workload.name: _target_port(service, port, workload) for workload in behind}
        taken = [self._taken_in(workload) for workload in behind]
        proxy = FIRST_PROXY_PORT
        while any(proxy in ports for ports in taken):
            proxy += 1
        for ports in taken:
            ports.add(proxy)
        for name, target in targets.items():
            self._ports.setdefault(name, []).append(
                SidecarPort(proxy, port.port, target, service.name, port.protocol)
            )
        return dataclasses.replace(port, target=proxy)

    def of(self, workload: str) -> tuple[SidecarPort, ...]:
        return tuple(self._ports.get(workload, ()))

    def _taken_in(self, workload: Workload) -> set[int]:
        taken = self._taken.get(workload.name)
        if taken is None:
            declared = (port for c in workload.facts.pod.serving() for port in c.tcp_ports())
            taken = self._taken[workload.name] = self._reserved.union(declared)
        return taken


def _target_port(service: Service, port: ServicePort, workload: Workload) -> int:
    number = workload.facts.pod.port_named(port.target)
    if number is None:
        raise ConfigError(
            f"service {service.name} targets the port named {port.target!r}, which no container "
            f"of workload {workload.name} declares",
            hint="name the container port, or give targetPort as a number",
        )
    if number == SIDECAR_ADMIN_PORT:
        raise ConfigError(
            f"service {service.name} leads to port {number} of workload {workload.name}, which "
            "every sidecar keeps for itself",
            hint="let the app listen on another port",
        )
    return number
