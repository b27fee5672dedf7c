"""Which previews an environment's manifests ask for: by marks on Services, and by Ingresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lapdev.cluster.manifests import Manifests
from lapdev.errors import ConfigError
from lapdev.model import Protocol, Service
from lapdev.store import PreviewWish

PREVIEW_MARK = "lapdev.dev/preview"
"""Label or annotation of a Service that asks for preview URLs, with the value "true"."""

TCP_MARK = "lapdev.dev/tcp-preview"
"""Label or annotation of a Service that asks for raw TCP previews of the ports in its value."""

TIMEOUT_MARK = "lapdev.dev/answer-timeout"
"""Label or annotation of a Service: the seconds it may take to begin an answer; 0: any time."""

MOST_SECONDS = 86_400


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
        ConfigError: a mark names a port that its Service does not have, or no time.
    """
    timeouts = {service.name: _timeout(service) for service in manifests.services}
    wishes = [
        replace(wish, answer_timeout=None if wish.tcp else timeouts.get(wish.service))
        for wish in (*_marked(manifests), *_by_ingress(manifests))
    ]
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


def _timeout(service: Service) -> int | None:
    text = service.labels.get(TIMEOUT_MARK)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text[:9]) > MOST_SECONDS:
        raise ConfigError(
            f"Service/{service.name}: {TIMEOUT_MARK} is {text!r:.60}",
            hint=f"write whole seconds, at most {MOST_SECONDS}; 0 means without limit",
        )
    return int(text)


def _by_ingress(manifests: Manifests) -> Iterator[PreviewWish]:
    """One preview per host. Its first path's service stands for it where one is named."""
    for host in manifests.ingresses:
        if host.routes:
            first = host.routes[0]
            yield PreviewWish(first.service, first.port, host.name, host.routes)
