"""Which services get URLs: `x-uffizzi`, `x-lapdev`, or else what `ports` publishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lapdev.cluster.compose.extension import url_path
from lapdev.cluster.compose.images import TCP_PORTS, image_port
from lapdev.cluster.compose.service import ComposeService, Port
from lapdev.cluster.compose.values import Value
from lapdev.cluster.manifests.known_fields import nearest

Object = dict[str, Any]
Note = Callable[[str], None]
Services = Mapping[str, ComposeService]


@dataclass(frozen=True, slots=True)
class Route:
    path: str
    service: ComposeService
    port: int
    at: Value

    @property
    def target(self) -> str:
        return f"{self.service.name}:{self.port}"


@dataclass(slots=True)
class Hosts:
    """Preview hosts while they are collected: name → path → route."""

    routes: dict[str, dict[str, Route]] = field(default_factory=dict)

    def add(self, host: str, route: Route) -> None:
        paths = self.routes.setdefault(host, {})
        other = paths.get(route.path)
        if other and other.target != route.target:
            route.at.fail(
                f"path {route.path} of {host} leads to {route.target} and to {other.target}",
                "give one of them another path or host",
            )
        paths[route.path] = route


def preview_hosts(root: Value, services: Sequence[ComposeService], note: Note) -> Hosts:
    """The hosts of the project's previews.

    What the top level says is all there is, but for services that say something themselves.
    """
    by_name = {service.name: service for service in services}
    hosts = Hosts()
    extension = root.child("x-lapdev")
    extension.only(("ingress",))
    chosen = False
    for ingress in _uffizzi(root):
        chosen = True
        if not ingress.child("service"):
            ingress.fail("names no service", "write service and port")
        service = _service(ingress.child("service"), by_name)
        port = _port(ingress.child("port"), service, note)
        hosts.add(service.label, Route("/", service, port, ingress))
    ingresses = extension.child("ingress")
    for entry in ingresses.items() if isinstance(ingresses.value, list) else [ingresses]:
        if entry:
            chosen = True
            _read_entry(entry, by_name, hosts, note)
    _of_services(services, hosts, chosen)
    return hosts


def _uffizzi(root: Value) -> list[Value]:
    found = [root.child("x-uffizzi-ingress")]
    uffizzi = root.child("x-uffizzi")
    if isinstance(uffizzi.value, dict):
        found.append(uffizzi.child("ingress"))
    return [value for value in found if value]


def _read_entry(entry: Value, services: Services, hosts: Hosts, note: Note) -> None:
    entry.only(("name", "host", "service", "port", "paths"))
    named = entry.child("name") or entry.child("host")
    routes = []
    if entry.child("service"):
        routes.append(_route(entry, "/", services, note))
    for item in entry.child("paths").items():
        item.only(("path", "service", "port"))
        routes.append(_route(item, url_path(item.child("path")), services, note))
    if not routes:
        entry.fail("leads nowhere", "write service and port, or paths")
    host = named.label() if named else routes[0].service.label
    for route in routes:
        hosts.add(host, route)


def _route(item: Value, path: str, services: Services, note: Note) -> Route:
    service = _service(item.child("service"), services)
    return Route(path, service, _port(item.child("port"), service, note), item)


def _service(value: Value, services: Services) -> ComposeService:
    name = value.text()
    if name not in services:
        close = nearest(name, services)
        value.fail(
            f"there is no active service {name!r}",
            f"did you mean {close!r}?" if close else f"services are: {', '.join(services)}",
        )
    return services[name]


def _port(value: Value, service: ComposeService, note: Note) -> int:
    """The container's port; one that Docker would publish stands for the one behind it."""
    if not value:
        if len(service.all_ports) == 1:
            return service.all_ports[0]
        value.fail(f"is not given, and {service.name!r} has not one port", "write the port")
    number = value.integer(1, 65535)
    if number in service.all_ports:
        return number
    behind = [port.number for port in service.ports if port.published == number]
    if behind:
        note(f"{value.where}: {number} is published for port {behind[0]}, which is taken")
        return behind[0]
    return number


# What services say themselves, and what their published ports say


def _of_services(services: Sequence[ComposeService], hosts: Hosts, chosen: bool) -> None:
    explicit = [s for s in services if s.extension.routes]
    shared = [s for s in explicit if s.extension.path and not s.extension.host]
    rest = [] if chosen else [s for s in services if s not in explicit and _http_ports(s)]
    # One more service beside those with paths takes what they leave.
    roots = [s for s in shared if s.extension.path == "/"] or (rest if len(rest) == 1 else [])
    shared_host = (roots or shared)[0].label if shared else ""
    for service in explicit:
        extension = service.extension
        port = extension.http or _first_port(service)
        path = extension.path or "/"
        host = extension.host or (shared_host if extension.path else service.label)
        hosts.add(host, Route(path, service, port, extension.at))
    for service in rest:
        for index, published in enumerate(_http_ports(service)):
            host = service.label if not index else f"{service.label}-{published.number}"
            hosts.add(host, Route("/", service, published.number, published.at))


def _first_port(service: ComposeService) -> int:
    ports = [port.number for port in _http_ports(service)] or service.all_ports
    if not ports:
        service.extension.at.fail(
            f"service {service.name!r} has no port", "write it: http: 8080, for example"
        )
    return ports[0]


def _http_ports(service: ComposeService) -> list[Port]:
    if service.extension.http == 0:
        return []
    tcp = tcp_ports(service)
    return [port for port in service.ports if port.is_published and port.number not in tcp]


def tcp_ports(service: ComposeService) -> tuple[int, ...]:
    """The ports that get raw TCP previews."""
    known = TCP_PORTS | {image_port(service.image)}
    found = [port.number for port in service.ports if port.is_published and port.number in known]
    chosen = service.extension.http
    return tuple(
        dict.fromkeys(
            port
            for port in (*service.extension.tcp, *found)
            if port != chosen or port in service.extension.tcp
        )
    )


# Objects


def with_ports(services: Sequence[ComposeService], hosts: Hosts) -> list[ComposeService]:
    """The services, with the ports that only their previews name."""
    extra: dict[str, list[Port]] = {}
    for paths in hosts.routes.values():
        for route in paths.values():
            if route.port not in route.service.all_ports:
                port = Port(route.port, route.at)
                extra.setdefault(route.service.name, []).append(port)
    return [
        replace(service, ports=(*service.ports, *extra.get(service.name, ())))
        for service in services
    ]


def ingress_objects(project: str, hosts: Hosts) -> list[Object]:
    """An Ingress per host, which is called as the host's first label."""
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": name},
            "spec": {
                "rules": [
                    {
                        "host": f"{name}.{project}",
                        "http": {"paths": [_path(route) for route in paths.values()]},
                    }
                ]
            },
        }
        for name, paths in hosts.routes.items()
    ]


def _path(route: Route) -> Object:
    backend = {"service": {"name": route.service.label, "port": {"number": route.port}}}
    return {"path": route.path, "pathType": "Prefix", "backend": backend}
