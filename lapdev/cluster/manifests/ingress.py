"""Ingress objects: which paths of a host lead to which service port.

`networking.k8s.io/v1`, and the backends of the versions before it. TLS, classes and controllers'
annotations are left unread, except one that would change what an application is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lapdev.cluster.manifests.node import Node, object_node
from lapdev.model import PathRoute, Service

_PATH_TYPES = ("Prefix", "Exact", "ImplementationSpecific")
_REWRITES = ("nginx.ingress.kubernetes.io/rewrite-target", "ingress.kubernetes.io/rewrite-target")
# What a path of a URL is made of (RFC 3986 §3.3), without what means something to a pattern.
_PATH = re.compile(r"/[A-Za-z0-9\-._~%!&',;=:@/]*")
_HOST = re.compile(
    r"(?=.{1,253}\Z)(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
)
NAME_OCTETS = 40
"""Leaves room in a label for what makes a preview's host unguessable."""


@dataclass(frozen=True, slots=True)
class IngressHost:
    """One host of an Ingress, which becomes one preview URL."""

    name: str
    """What its preview URL begins with: the Ingress's name, or the host's first label."""
    routes: tuple[PathRoute, ...]
    """Longest prefix first; exact ones before prefixes of the same length."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A path of a host, as one Ingress has it."""

    ingress: str
    host: str
    """Empty: every host."""
    route: PathRoute
    node: Node
    default: bool = False
    """It answers where nothing else does."""


def parse_ingress(item: dict[str, Any], services: Mapping[str, Service]) -> list[Rule]:
    """The paths of the Ingress; a backend's port given by name is looked up in `services`."""
    root = object_node(item, "Ingress")
    name = root.child("metadata").child("name").object_name()
    spec = root.child("spec")
    rules = []
    for node in spec.child("rules").items():
        host = _host(node.child("host"))
        paths = node.child("http").child("paths").items()
        rules += [Rule(name, host, _route(path, services), path) for path in paths]
    _refuse_rewrites(root, rules)
    legacy = spec.child("backend")
    default = legacy if legacy.present else spec.child("defaultBackend")
    if default.present:
        service, port = _backend(default, services)
        hosts = {rule.host: None for rule in rules} or {"": None}
        route = PathRoute("/", service, port)
        rules += [Rule(name, host, route, default, default=True) for host in hosts]
    if not rules:
        spec.fail("leads nowhere", "add rules with paths, or a defaultBackend")
    return rules


def _host(node: Node) -> str:
    host = node.text("")
    if host and not _HOST.fullmatch(host):
        node.fail(f"{host!r:.80} is not a host name", "write one like shop.example.com")
    return host


def _route(node: Node, services: Mapping[str, Service]) -> PathRoute:
    kind = node.child("pathType").choice(_PATH_TYPES, "ImplementationSpecific")
    path = node.child("path").text("/") or "/"
    if kind == "ImplementationSpecific":
        path = path.removesuffix("*")  # "/*" is everything to several controllers
    if not _PATH.fullmatch(path):
        node.child("path").fail(
            f"{path!r:.80} is not a plain path",
            "write a prefix of whole segments, /api, with pathType Prefix: patterns are not"
            " supported, and nothing is rewritten",
        )
    service, port = _backend(node.child("backend"), services)
    if kind == "Exact":
        return PathRoute(path, service, port, exact=True)
    return PathRoute(path.rstrip("/") or "/", service, port)


def _backend(node: Node, services: Mapping[str, Service]) -> tuple[str, int]:
    if node.child("resource").present:
        node.child("resource").fail("is not supported", "lead the path to a service")
    if node.child("serviceName").present:  # before networking.k8s.io/v1
        service, port = node.child("serviceName"), node.child("servicePort")
        named = isinstance(port.value, str)
    else:
        service = node.child("service").child("name")
        ports = node.child("service").child("port")
        named = ports.child("name").present
        port = ports.child("name" if named else "number")
    name = service.dns_label()
    return name, _named_port(port, name, services) if named else port.integer(1, 65535)


def _named_port(node: Node, service: str, services: Mapping[str, Service]) -> int:
    wanted = node.text()
    if service not in services:
        names = ", ".join(sorted(services)) or "none"
        node.fail(f"there is no Service {service} with a port so named", f"services are: {names}")
    for port in services[service].ports:
        if port.name == wanted:
            return port.port
    names = ", ".join(port.name for port in services[service].ports if port.name) or "none"
    node.fail(f"Service {service} has no port named {wanted!r:.60}", f"its names are: {names}")


def _refuse_rewrites(root: Node, rules: Sequence[Rule]) -> None:
    """An application behind a rewriting controller would be asked for other paths here."""
    annotations = root.child("metadata").child("annotations")
    for name in _REWRITES:
        if name in annotations.mapping() and any(rule.route.path != "/" for rule in rules):
            annotations.child(name).fail(
                "paths are not rewritten here: the service is asked for the whole path",
                "let the service answer under the path itself and leave the annotation out, or"
                " give it a host of its own",
            )


def ingress_hosts(rules: Iterable[Rule]) -> tuple[IngressHost, ...]:
    """The rules of all Ingresses, one entry per host, each with a name of its own.

    Rules of several Ingresses for one host are taken together, as controllers do. One without a
    host is a host of its own.

    Raises:
        ConfigError: one path of a host leads to two places.
    """
    by_host: dict[str, list[Rule]] = {}
    for rule in rules:
        by_host.setdefault(rule.host, []).append(rule)
    hosts_of: dict[str, set[str]] = {}
    for host, found in by_host.items():
        hosts_of.setdefault(found[0].ingress, set()).add(host)
    names: set[str] = set()
    result = []
    for host, found in by_host.items():
        ingress = found[0].ingress
        alone = len(hosts_of[ingress]) == 1 or not host or host.startswith("*")
        name = _free_name(ingress if alone else host.partition(".")[0], names)
        result.append(IngressHost(name, _routes(host, found)))
    return tuple(result)


def _free_name(wanted: str, taken: set[str]) -> str:
    stem = wanted.replace(".", "-")[:NAME_OCTETS].rstrip("-")
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _routes(host: str, rules: Iterable[Rule]) -> tuple[PathRoute, ...]:
    known: dict[tuple[str, bool], Rule] = {}
    for rule in sorted(rules, key=lambda rule: rule.default):
        key = (rule.route.path, rule.route.exact)
        other = known.setdefault(key, rule)
        if rule.default or other.route == rule.route:
            continue
        rule.node.fail(
            f"path {rule.route.path} of {host or 'every host'} leads to {_target(rule.route)}, and"
            f" to {_target(other.route)} in Ingress/{other.ingress}",
            "keep one of the two",
        )
    routes = [rule.route for rule in known.values()]
    return tuple(sorted(routes, key=lambda r: (-len(r.path), not r.exact, r.path)))


def _target(route: PathRoute) -> str:
    return f"{route.service}:{route.port}"
