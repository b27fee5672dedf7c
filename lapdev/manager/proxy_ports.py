"""Which port each sidecar of a namespace listens on, and for whom. Pure.

A service port has its proxy port by its own name, wherever it is written and whatever is written
beside it: a pod is not replaced because another Service came or went. Only two service ports of
one workload that fall on the same number, or on one its containers use, move the later of the two
(by name) to the next that is free.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from hashlib import sha256

from lapdev.errors import ConfigError
from lapdev.manager.workloads import Workload
from lapdev.model import Service, ServicePort, SidecarPort

FIRST_PROXY_PORT = 15_101
PROXY_PORTS = 550
"""How many there are to choose from: 15101 to 15650, which no well-known program listens on."""
SIDECAR_ADMIN_PORT = 15_090

Front = tuple[Service, list[Workload]]
"""A Service, and the workloads behind it that its sidecars stand before."""


class ProxyPorts:
    """The proxy ports of the Services given, each the same in every workload behind its Service."""

    def __init__(self, fronts: Iterable[Front]) -> None:
        """Raises ConfigError: a port leads nowhere, or to the sidecar's own."""
        self._proxies: dict[tuple[str, int], int] = {}
        self._ports: dict[str, list[SidecarPort]] = {}
        self._taken: dict[str, set[int]] = {}
        ordered = sorted((front for front in fronts if front[1]), key=lambda front: front[0].name)
        for service, behind in ordered:
            for workload in behind:
                self._take_targets(service, workload)
        for service, behind in ordered:
            for port in sorted(service.ports, key=lambda port: port.port):
                self._stand_before(service, port, behind)

    def service(self, service: Service) -> Service:
        """The Service as pods meet it: its ports lead to the sidecars."""
        ports = tuple(
            dataclasses.replace(
                port, target=self._proxies.get((service.name, port.port), port.target)
            )
            for port in service.ports
        )
        return dataclasses.replace(service, ports=ports)

    def of(self, workload: str) -> tuple[SidecarPort, ...]:
        """What its sidecar stands before, by the Services' names."""
        return tuple(self._ports.get(workload, ()))

    def _take_targets(self, service: Service, workload: Workload) -> None:
        taken = self._taken.get(workload.name)
        if taken is None:
            declared = (port for c in workload.facts.pod.serving() for port in c.tcp_ports())
            taken = self._taken[workload.name] = {SIDECAR_ADMIN_PORT, *declared}
        # A container may listen on a port it does not declare: what Services target is taken too.
        taken.update(port.target for port in service.ports if isinstance(port.target, int))

    def _stand_before(self, service: Service, port: ServicePort, behind: list[Workload]) -> None:
        targets = {workload.name: _target_port(service, port, workload) for workload in behind}
        taken = [self._taken[workload.name] for workload in behind]
        place = _place(service.name, port.port)
        for step in range(PROXY_PORTS):
            proxy = FIRST_PROXY_PORT + (place + step) % PROXY_PORTS
            if not any(proxy in ports for ports in taken):
                break
        else:
            raise ConfigError(
                f"service {service.name}: no port is free for the sidecars of its pods",
                hint="declare fewer ports",
            )
        self._proxies[service.name, port.port] = proxy
        for name, target in targets.items():
            self._taken[name].add(proxy)
            self._ports.setdefault(name, []).append(
                SidecarPort(proxy, port.port, target, service.name, port.protocol)
            )


def _place(service: str, port: int) -> int:
    digest = sha256(f"{service}:{port}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % PROXY_PORTS


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
