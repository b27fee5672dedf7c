"""Service objects, checked, and what their ports declare."""

from __future__ import annotations

from typing import Any

from lapdev.cluster.manifests.node import Node, object_node
from lapdev.model import Protocol, Service, ServicePort

PREVIEW_MARK_PREFIX = "lapdev.dev/"
"""Annotations of a Service under this prefix count as labels: either place may mark it."""

_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_HTTP_WORDS = frozenset({"http", "ws", "grpc-web", "kubernetes.io/ws"})
# HTTP/2 from its first byte (gRPC, h2c) and TLS are carried as they are: opaque bytes.
_TCP_WORDS = frozenset(
    {"tcp", "tls", "https", "wss", "http2", "h2c", "grpc", "kubernetes.io/h2c", "kubernetes.io/wss"}
    | {"redis", "mysql", "postgres", "postgresql", "mongo", "mongodb", "memcached", "cassandra"}
    | {"amqp", "kafka", "nats"}
)


def parse_service(item: dict[str, Any]) -> Service:
    """The Service that a Kubernetes object describes; ports other than TCP are left out."""
    root = object_node(item, "Service")
    spec = root.child("spec")
    ports = [found for port in spec.child("ports").items() if (found := _service_port(port))]
    if len({port.port for port in ports}) < len(ports):
        spec.child("ports").fail("has one port number twice", "keep one of the two")
    metadata = root.child("metadata")
    marks = {
        name: value
        for name, value in metadata.child("annotations").text_map().items()
        if name.startswith(PREVIEW_MARK_PREFIX)
    }
    external = _external_name(spec)
    service = Service(
        name=metadata.child("name").dns_label(),
        selector={} if external else spec.child("selector").text_map(),
        ports=tuple(ports),
        labels=marks | metadata.child("labels").text_map(),
        headless=not external and spec.child("clusterIP").text("") == "None",
        external_name=external,
        publish_not_ready=spec.child("publishNotReadyAddresses").flag(),
    )
    if not service.selector and not external:
        spec.child("selector").fail(
            "selects no pods",
            "name the labels of the pods it serves; for a host elsewhere write"
            " type: ExternalName and externalName",
        )
    return service


def _external_name(spec: Node) -> str:
    """The host it is another name for, without its trailing dot; empty for all other types."""
    if spec.child("type").choice(_TYPES, "ClusterIP") != "ExternalName":
        return ""
    name = spec.child("externalName").text().removesuffix(".").lower()
    return Node(name, f"{spec.where}.externalName").object_name()


def _service_port(node: Node) -> ServicePort | None:
    port = node.child("port").integer(1, 65535)
    if node.child("protocol").text("TCP") != "TCP":
        return None
    target = node.child("targetPort")
    if target.value is None:
        number: int | str = port
    elif isinstance(target.value, str):
        number = target.value
    else:
        number = target.integer(1, 65535)
    name = node.child("name").text("")
    return ServicePort(port, number, name, _protocol(node.child("appProtocol").text(""), name))


def _protocol(app_protocol: str, name: str) -> Protocol:
    """What a port declares: `appProtocol` first, then the port name's first word (`http-web`)."""
    for word in (app_protocol.lower(), name, name.split("-", 1)[0]):
        if word in _HTTP_WORDS:
            return Protocol.HTTP
        if word in _TCP_WORDS:
            return Protocol.TCP
    return Protocol.UNDECLARED
