"""What the names of a namespace stand for: services, and pods that have names of their own.

Implements the A and CNAME parts of Kubernetes' DNS specification. Facts in, table out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lapdev.cluster.name_server import Answer
from lapdev.model import Service

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class NamedPod:
    """A pod as the name server sees it."""

    ip: str
    ready: bool
    hostname: str
    """What it is called below its subdomain."""
    subdomain: str
    """The headless service below which it has a name; empty when there is none."""
    services: tuple[str, ...]
    """Headless services that select it."""


def service_name(service: str, namespace: str) -> str:
    return f"{service}.{namespace}.svc.{CLUSTER_DOMAIN}".lower()


def name_table(
    namespace: str,
    services: Mapping[str, Service],
    addresses: Mapping[str, str],
    pods: Iterable[NamedPod],
    also_known_as: Collection[str] = (),
) -> dict[str, Answer]:
    """Full name, lower case → what it stands for; whatever is not in it does not exist.

    `addresses` are those of the services that have one. A headless service without one means its
    ready pods, or all where it says so; each pod that names it as its subdomain has a name below.
    Under `also_known_as`, other names of the namespace, everything is there again.
    """
    headless: defaultdict[str, list[str]] = defaultdict(list)
    table: dict[str, Answer] = {}
    for pod in pods:
        for name in pod.services:
            if not (pod.ready or services[name].publish_not_ready):
                continue
            headless[name].append(pod.ip)
            if pod.subdomain == name and pod.hostname:
                full = f"{pod.hostname.lower()}.{service_name(name, namespace)}"
                known = table[full].addresses if full in table else ()
                table[full] = Answer((*known, pod.ip))
    for name, service in services.items():
        table[service_name(name, namespace)] = _answer(service, addresses, headless)
    own = service_name("", namespace)
    for other in also_known_as:
        table |= {
            name.removesuffix(own) + service_name("", other): answer
            for name, answer in table.items()
            if name.endswith(own)
        }
    return table


def _answer(
    service: Service, addresses: Mapping[str, str], headless: Mapping[str, list[str]]
) -> Answer:
    if service.external_name:
        return Answer(alias=service.external_name)
    if service.name in addresses:
        return Answer((addresses[service.name],))
    return Answer(tuple(headless.get(service.name, ())))
