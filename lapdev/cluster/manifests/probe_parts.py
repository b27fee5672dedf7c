"""Probes and lifecycle hooks, read from a container's manifest."""

from __future__ import annotations

import re
from typing import Literal

from lapdev.cluster.manifests.container import ContainerPort, Handler, Probe
from lapdev.cluster.manifests.known_fields import PROBE_FIELDS, refuse_unknown
from lapdev.cluster.manifests.node import Node

Ports = tuple[ContainerPort, ...]

# What would end a header line or begin another request is refused: RFC 9110 §5.5, RFC 9112 §3.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_PATH = re.compile(r"[\x21-\x7e]*")


def parse_probe(node: Node, ports: Ports, *, repeats_success: bool = False) -> Probe | None:
    """The probe, None where none is written. A number of 0 means Kubernetes' default.

    Only a readiness probe may ask for more than one success in a row (`repeats_success`).
    """
    if not node.present:
        return None
    refuse_unknown(node, PROBE_FIELDS)
    kind = node.one_of(("httpGet", "tcpSocket", "exec", "grpc"), "check")
    if not kind:
        node.fail("says nothing to check", "write httpGet, tcpSocket or exec")
    action = node.child(kind)
    if kind == "grpc":
        # What a listening gRPC server would answer is not asked: that it listens says enough.
        handler = Handler("tcp", port=action.child("port").integer(1, 65535))
    else:
        handler = _handler(action, kind, ports, tls="tcp")
    return Probe(
        handler,
        initial_delay=float(node.child("initialDelaySeconds").integer(0, 86400, default=0)),
        period=float(node.child("periodSeconds").integer(0, 86400, default=0) or 10),
        timeout=float(node.child("timeoutSeconds").integer(0, 86400, default=0) or 1),
        success_threshold=_successes(node.child("successThreshold"), repeats_success),
        failure_threshold=node.child("failureThreshold").integer(0, 100_000, default=0) or 3,
    )


def _successes(node: Node, repeats: bool) -> int:
    return node.integer(0, 1000 if repeats else 1, default=0) or 1


def parse_hook(node: Node, ports: Ports) -> Handler | None:
    """A `postStart` or `preStop` handler, None where none is written."""
    if not node.present:
        return None
    kind = node.one_of(("exec", "httpGet", "tcpSocket", "sleep"), "action")
    if not kind:
        node.fail("says nothing to do", "write exec, httpGet or sleep")
    action = node.child(kind)
    if kind == "sleep":
        return Handler("sleep", seconds=float(action.child("seconds").integer(0, 86400)))
    return _handler(action, kind, ports, tls=None)


def _handler(action: Node, kind: str, ports: Ports, *, tls: Literal["tcp"] | None) -> Handler:
    if kind == "exec":
        command = action.child("command").texts()
        if not command or not command[0]:
            action.child("command").fail("is empty", "write the words of a command")
        return Handler("exec", command=command)
    port = _port(action.child("port"), ports)
    host = _host(action.child("host"))
    if kind == "tcpSocket":
        return Handler("tcp", port=port, host=host)
    scheme = action.child("scheme")
    if scheme.choice(("HTTP", "HTTPS"), "HTTP") == "HTTPS":
        # HTTPS probes verify nothing in Kubernetes either: that it listens says as much.
        if tls is None:
            scheme.fail("HTTPS hooks are not supported", "use scheme HTTP, or exec with curl")
        return Handler(tls, port=port, host=host)
    return Handler(
        "http",
        port=port,
        host=host,
        path=_path(action.child("path")),
        headers=tuple(_header(header) for header in action.child("httpHeaders").items()),
    )


def _port(node: Node, ports: Ports) -> int:
    if not isinstance(node.value, str):
        return node.integer(1, 65535)
    for port in ports:
        if port.name and port.name == node.value:
            return port.port
    names = ", ".join(port.name for port in ports if port.name) or "none"
    node.fail(
        f"no port is named {node.value!r:.60}",
        f"write the port's number, or the name of one of this container's ports: {names}",
    )


def _host(node: Node) -> str:
    host = node.text("")
    if not _PATH.fullmatch(host):
        node.fail(f"{host!r:.60} is not a host", "write a name or an address, or leave it out")
    return host


def _path(node: Node) -> str:
    path = node.text("/")
    if not _PATH.fullmatch(path):
        node.fail(f"{path!r:.60} is not a path", "leave out spaces, or write them as %20")
    return path if path.startswith("/") else f"/{path}"


def _header(node: Node) -> tuple[str, str]:
    name, value = node.child("name").text(), node.child("value").text("")
    if not _HEADER_NAME.fullmatch(name):
        node.child("name").fail(f"{name!r:.60} is not a header's name", "use letters and hyphens")
    if not _HEADER_VALUE.fullmatch(value):
        node.child("value").fail("is not a header's value", "use printable ASCII in one line")
    return name, value
