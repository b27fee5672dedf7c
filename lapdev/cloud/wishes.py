"""Which previews an environment's manifests ask for: by marks on Services, and by Ingresses."""

from __future__ import annotations

from collections.abc import Iterator

from lapdev.cluster.manifests import Manifests
from lapdev.errors import ConfigError
from lapdev.model import Protocol, Service
from lapdev.store import PreviewWish

PREVIEW_MARK = "lapdev.dev/preview"
"""Label or annotation of a Service that asks for preview URLs, with the value "true"."""

TCP_MARK = "lapdev.dev/tcp-preview"
"""Label or annotation of a Service that asks for raw TCP previews of the ports in its value."""


def offered_ports(manifests: Manifests) -> frozenset[tuple[str, int]]:
    """(service, port) of everything a preview may lead to."""
    return frozenset(
        (service.name, port.port)
        for service in manifests.services
        if not service.external_name
        for port in service.ports
    )


def preview_wishes(manifests: Manifests) -> tuple[PreviewWish, ...]:
    """Every preview that the objects ask for, each once.

    Raises:
        ConfigError: a mark names a port that its Service does not have.
    """
    wishes = [*_marked(manifests), *_by_ingress(manifests)]
    return tuple({wish.key: wish for wish in wishes}.values())


def _marked(manifests: Manifests) -> Iterator[PreviewWish]:
    for service in manifests.services:
        if service.external_name:
            continue
        if service.labels.get(PREVIEW_MARK) == "true":
            for port in service.ports:
                if port.protocol is not Protocol.TCP:
                    yield PreviewWish(service.name, port.port)
        for number in _tcp_ports(service):
            yield PreviewWish(service.name, number, tcp=True)


def _tcp_ports(service: Service) -> list[int]:
    """Ports named in the mark, by number or by name."""
    words = [word.strip() for word in service.labels.get(TCP_MARK, "").split(",")]
    known = {str(port.port): port.port for port in service.ports}
    known |= {port.name: port.port for port in service.ports if port.name}
    numbers = []
    for word in words:
        if not word:
            continue
        if word not in known:
            ports = ", ".join(str(port.port) for port in service.ports) or "none"
            raise ConfigError(
                f"Service/{service.name}: {TCP_MARK} names the port {word!r:.60}, which it does "
                "not have",
                hint=f"its ports are: {ports}",
            )
        numbers.append(known[word])
    return numbers


def _by_ingress(manifests: Manifests) -> Iterator[PreviewWish]:
    """One preview per host. Its first path's service stands for it where one is named."""
    for host in manifests.ingresses:
        if host.routes:
            first = host.routes[0]
            yield PreviewWish(first.service, first.port, host.name, host.routes)
