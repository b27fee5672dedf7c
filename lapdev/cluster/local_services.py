"""The services of a namespace on this machine: addresses, listeners, endpoints, names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from lapdev.cluster.controllers import OWN_LABELS
from lapdev.cluster.name_server import Answer
from lapdev.cluster.names import NamedPod, name_table
from lapdev.cluster.pod import Pod
from lapdev.cluster.service_proxy import Front, ServiceProxy
from lapdev.cluster.subnets import Subnet
from lapdev.cluster.wanted import (
    WantedNamespace,
    endpoint_port,
    service_port,
)
from lapdev.errors import ClusterError, NoRoute
from lapdev.model import Service, ServicePort

PodsOf = Callable[[str], Iterable[Pod]]
"""Workload → its pods that have not ended."""


@dataclass(slots=True)
class LocalServices:
    """Listens for the services of the last spec while they have ready pods."""

    namespace: str
    subnet: Subnet
    bridge: str
    """Empty without isolation: there are no names then, and headless ones mean their address."""
    pods_of: PodsOf
    complain: Callable[[str, str], None]
    """Takes a problem and its remedy."""
    _wanted: WantedNamespace = field(init=False)
    _addresses: dict[str, str] = field(default_factory=dict)
    _workloads: dict[str, list[str]] = field(default_factory=dict)
    """Service → workloads that may have pods of it."""
    _services: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The other way round."""
    _proxies: dict[str, dict[int, ServiceProxy]] = field(default_factory=dict)
    _retired: list[ServiceProxy] = field(default_factory=list)
    """Of services that are gone: connections to their pods last until those have ended."""
    _stale: set[str] = field(default_factory=set)
    """Services whose listeners have to be looked at."""
    _names: dict[str, Answer] | None = None
    """None: to be made when somebody asks."""
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._wanted = WantedNamespace(self.namespace, {}, {}, {})

    def apply(self, wanted: WantedNamespace, pods: Iterable[Pod]) -> None:
        """`pods` are those of all workloads.

        Raises:
            ClusterError: there are more services than addresses; then nothing has changed.
        """
        # Headless ones too: sidecars, which resolve no names, dial services by their address.
        addressed = {name for name, each in wanted.services.items() if not each.external_name}
        self.subnet.services.check_room(len(addressed) - len(self._addresses))
        for name in self._addresses.keys() - addressed:
            self.subnet.services.give_back(self._addresses.pop(name))
        # In the spec's order: the same manifests get the same addresses.
        for name in wanted.services:
            if name in addressed and name not in self._addresses:
                self._addresses[name] = self.subnet.services.take()
        self._wanted = wanted
        self._environment = self._make_environment()
        self._index(pods)
        self._stale |= wanted.services.keys() | self._proxies.keys()
        self._names = None

    def touch(self, workload: str) -> None:
        """Which pods the workload has, or whether they are ready, has changed."""
        self._names = None
        self._stale.update(self._services.get(workload, ()))

    async def update(self) -> None:
        """Listeners agree with the services and pods there are."""
        stale, self._stale = self._stale, set()
        for name in stale:
            await self._update_service(name)
        self._retired = [proxy for proxy in self._retired if proxy.busy]

    async def aclose(self) -> None:
        """Nothing listens and nothing is relayed."""
        proxies = [proxy for ports in self._proxies.values() for proxy in ports.values()]
        for proxy in (*proxies, *self._retired):
            await proxy.aclose()
        self._proxies.clear()
        self._retired.clear()

    # Questions

    def host(self, service: str) -> str:
        known = self._wanted.services.get(service)
        if known is None:
            raise NoRoute(f"{self.namespace} has no service {service}")
        if known.external_name:
            return known.external_name
        return self._addresses[service]

    def endpoints(self, service: str, port: int) -> tuple[str, ...]:
        known = self._wanted.services.get(service)
        if known is not None and known.external_name:
            raise NoRoute(
                f"service {service} is only another name for {known.external_name}",
                hint=f"dial {known.external_name} itself",
            )
        declared = service_port(self._wanted, service, port)
        return tuple(
            f"{pod.place.ip}:{number}"
            for pod in self._selected(self._wanted.services[service])
            if pod.ready
            if (number := endpoint_port(pod.workload, service, declared)) is not None
        )

    def environment(self) -> dict[str, str]:
        """`API_SERVICE_HOST` and `API_SERVICE_PORT`, as Kubernetes sets them."""
        return self._environment

    def resolve(self, name: str) -> Answer | None:
        if self._names is None:
            self._names = self._make_names()
        return self._names.get(name)

    # Making

    def _index(self, pods: Iterable[Pod]) -> None:
        """Which workloads a service may select is known until the next spec: a pod's labels are
        its template's, and some of its own."""
        labelled = [(each.name, each.facts.pod.labels) for each in self._wanted.workloads.values()]
        # Pods of the last spec may have other labels than their successors.
        labelled += [(pod.workload.name, pod.workload.facts.pod.labels) for pod in pods]
        self._services.clear()
        self._workloads = {}
        for name, service in self._wanted.services.items():
            template = {k: v for k, v in service.selector.items() if k not in OWN_LABELS}
            found = dict.fromkeys(
                each for each, labels in labelled if template.items() <= labels.items()
            )
            self._workloads[name] = list(found) if service.selector else []
            for workload in self._workloads[name]:
                self._services[workload].append(name)

    def _selected(self, service: Service) -> Iterable[Pod]:
        for workload in self._workloads.get(service.name, ()):
            for pod in self.pods_of(workload):
                if service.selects(pod.workload.facts.pod.labels):
                    yield pod

    async def _update_service(self, name: str) -> None:
        service = self._wanted.services.get(name)
        host = self._addresses.get(name, "")
        ports = {port.port: port for port in service.ports} if service and host else {}
        proxies = self._proxies.setdefault(name, {})
        for number, proxy in list(proxies.items()):
            if number not in ports or proxy.front.host != host:
                self._retired.append(proxies.pop(number))
                await proxy.retire()
        for number, port in ports.items():
            if number not in proxies:
                proxies[number] = ServiceProxy(self._front(host, name, port))
            try:
                await proxies[number].update()
            except ClusterError as exc:
                self.complain(f"service {name}: {exc}", exc.hint)
        if not proxies:
            self._proxies.pop(name, None)

    def _front(self, host: str, service: str, port: ServicePort) -> Front:
        def endpoints() -> tuple[str, ...]:
            try:
                return self.endpoints(service, port.port)
            except NoRoute:
                return ()  # the service has just been taken away

        return Front(host, port.port, self.bridge, endpoints)

    def _make_names(self) -> dict[str, Answer]:
        selecting: defaultdict[str, list[str]] = defaultdict(list)
        pods: dict[str, Pod] = {}
        for name, service in self._wanted.services.items():
            for pod in self._selected(service) if service.headless else ():
                selecting[pod.name].append(name)
                pods[pod.name] = pod
        named = [_named(pod, selecting[pod.name]) for pod in pods.values()]
        wanted = self._wanted
        return name_table(
            self.namespace, wanted.services, self._visible(), named, wanted.also_known_as
        )

    def _visible(self) -> dict[str, str]:
        """Service → the address that apps are told."""
        return {
            name: address
            for name, address in self._addresses.items()
            if not (self.bridge and self._wanted.services[name].headless)
        }

    def _make_environment(self) -> dict[str, str]:
        env = {}
        for name, address in self._visible().items():
            prefix = name.upper().replace("-", "_")
            env[f"{prefix}_SERVICE_HOST"] = address
            if ports := self._wanted.services[name].ports:
                env[f"{prefix}_SERVICE_PORT"] = str(ports[0].port)
        return env


def _named(pod: Pod, services: Collection[str]) -> NamedPod:
    return NamedPod(
        ip=pod.place.ip,
        ready=pod.ready,
        hostname=pod.place.hostname or pod.name,
        subdomain=pod.place.subdomain,
        services=tuple(services),
    )
