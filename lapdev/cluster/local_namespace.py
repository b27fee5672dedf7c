"""One environment namespace on this machine: its addresses, services and pods, kept as wanted."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster.driver import PodCredentials
from lapdev.cluster.manifests import local_command
from lapdev.cluster.network import Network
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.pod import Pod, Surroundings
from lapdev.cluster.pod_files import kept_paths
from lapdev.cluster.rollout import next_step
from lapdev.cluster.sandbox import IsolatedSandbox, OpenSandbox, Place, Sandbox
from lapdev.cluster.service_proxy import Front, ServiceProxy
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import AddressPlan, Subnet
from lapdev.cluster.wanted import (
    WantedNamespace,
    WantedWorkload,
    endpoint_port,
    selects,
    service_port,
)
from lapdev.errors import ClusterError, ConfigError, NoRoute
from lapdev.log import get_logger
from lapdev.model import ServicePort, WorkloadStatus
from lapdev.net.tasks import Tasks

POD_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
POD_SUFFIX_LENGTH = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """What all namespaces share."""

    options: LocalOptions
    credentials: PodCredentials
    spawner: Spawner
    network: Network | None
    """None: without isolation."""
    plan: AddressPlan
    changed: Callable[[str], None]


@dataclass(slots=True)
class _Running:
    pod: Pod
    task: asyncio.Task[None]


@dataclass(slots=True)
class LocalNamespace:
    """Works towards the last spec it was given, one step after every change."""

    name: str
    machine: Machine
    wanted: WantedNamespace = field(init=False)
    subnet: Subnet = field(init=False)
    _bridge: str = ""
    _services: dict[str, str] = field(default_factory=dict)
    """Service name → address."""
    _proxies: dict[tuple[str, int], ServiceProxy] = field(default_factory=dict)
    _retired: list[ServiceProxy] = field(default_factory=list)
    """Of services that are gone: connections to their pods last until those have ended."""
    _running: dict[str, _Running] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: Tasks = field(default_factory=Tasks)
    _reported: object = None
    _complaints: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """It has addresses and, with isolation, a bridge."""
        self.wanted = WantedNamespace(self.name, {}, {}, {})
        self.subnet = self.machine.plan.take()
        if self.machine.network is not None:
            try:
                self._bridge = await self.machine.network.add_namespace(self.subnet)
            except ClusterError:
                self.machine.plan.give_back(self.subnet)
                raise
        self._tasks.spawn(self._reconcile(), f"namespace:{self.name}")

    def apply(self, wanted: WantedNamespace) -> None:
        for name in wanted.services.keys() - self._services.keys():
            self._services[name] = self.subnet.services.take()
        for name in self._services.keys() - wanted.services.keys():
            self.subnet.services.give_back(self._services.pop(name))
        self.wanted = wanted
        self._wake.set()

    async def aclose(self, grace_limit: float | None = None) -> None:
        """No process, listener or address of the namespace is left."""
        self.wanted = WantedNamespace(self.name, {}, {}, {})
        for running in self._running.values():
            running.pod.request_stop(grace_limit)
        self._wake.set()
        while self._running:
            await asyncio.wait([running.task for running in self._running.values()])
        await self._tasks.aclose()
        for proxy in (*self._proxies.values(), *self._retired):
            await proxy.aclose()
        self._proxies.clear()
        self._retired.clear()
        if self.machine.network is not None:
            await self.machine.network.remove_namespace(self.subnet)
        self.machine.plan.give_back(self.subnet)
        shutil.rmtree(self._folder(), ignore_errors=True)

    async def wait_gone(self, workloads: Collection[str]) -> None:
        """No pod exists of those of these workloads that are not wanted."""
        while ending := [
            running.task
            for running in self._running.values()
            if (name := running.pod.workload.name) in workloads
            and name not in self.wanted.workloads
        ]:
            await asyncio.wait(ending)

    # Questions

    def pods(self) -> list[Pod]:
        return [running.pod for running in self._running.values()]

    def status(self) -> tuple[WorkloadStatus, ...]:
        return tuple(self._workload_status(each) for each in self.wanted.workloads.values())

    def service_host(self, service: str) -> str:
        if service not in self._services:
            raise NoRoute(f"{self.name} has no service {service}")
        return self._services[service]

    def endpoints(self, service: str, port: int) -> tuple[str, ...]:
        declared = service_port(self.wanted, service, port)
        wanted = self.wanted.services[service]
        return tuple(
            f"{pod.place.ip}:{number}"
            for pod in self.pods()
            if pod.ready and selects(wanted, pod.workload)
            if (number := endpoint_port(pod.workload, service, declared)) is not None
        )

    def _workload_status(self, workload: WantedWorkload) -> WorkloadStatus:
        pods = [pod for pod in self.pods() if pod.workload.name == workload.name]
        new = [pod for pod in pods if pod.digest == workload.digest and not pod.stopping]
        waiting = [pod for pod in new if not pod.ready]
        return WorkloadStatus(
            name=workload.name,
            wanted=workload.facts.replicas,
            ready=sum(pod.ready for pod in new),
            restarts=sum(pod.restarts for pod in new),
            detail=next((text for pod in waiting if (text := pod.why_not_ready())), ""),
        )

    # Becoming what is wanted

    async def _reconcile(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                self._step_pods()
                await self._step_proxies()
            except (ClusterError, ConfigError) as exc:
                self._complain(str(exc), exc.hint)
            except Exception:
                # One step that went wrong must not be the namespace's last.
                get_logger().exception("namespace_failed", target=self.name)
            self._report()

    def _report(self) -> None:
        """Whoever listens hears of it when the status, or which pods there are, has changed."""
        facts = (self.status(), [(pod.name, pod.ready) for pod in self.pods()])
        if facts != self._reported:
            self._reported = facts
            self.machine.changed(self.name)

    def _complain(self, problem: str, hint: str) -> None:
        """Once: the same step is taken again after every change."""
        if problem not in self._complaints:
            self._complaints.add(problem)
            get_logger().error("namespace_failed", target=self.name, error=problem, hint=hint)

    def _step_pods(self) -> None:
        for name in {*self.wanted.workloads, *(pod.workload.name for pod in self.pods())}:
            workload = self.wanted.workloads.get(name)
            pods = [pod for pod in self.pods() if pod.workload.name == name and not pod.stopping]
            replicas = workload.facts.replicas if workload else 0
            step = next_step(replicas, workload.digest if workload else "", pods)
            for stopping in step.stop:
                self._running[stopping].pod.request_stop()
                self._wake.set()
            for _ in range(step.start):
                assert workload is not None
                self._start_pod(workload)

    def _start_pod(self, workload: WantedWorkload) -> None:
        suffix = "".join(secrets.choice(POD_SUFFIX) for _ in range(POD_SUFFIX_LENGTH))
        # A host name has at most 63 octets.
        name = f"{workload.name[: 62 - POD_SUFFIX_LENGTH]}-{suffix}"
        place = Place(
            name=name,
            namespace=self.name,
            ip=self.subnet.pods.take(),
            subnet=self.subnet,
            bridge=self._bridge,
            folder=self._folder() / name,
            fresh=tuple(self.machine.options.covered_folders()),
            keep=tuple(self._kept_paths(workload)),
        )
        pod = Pod(workload, place, self._surroundings())
        self._running[name] = _Running(pod, self._tasks.spawn(self._run_pod(pod), f"pod:{name}"))

    async def _run_pod(self, pod: Pod) -> None:
        try:
            await pod.run()
        finally:
            self._running.pop(pod.name, None)
            self.subnet.pods.give_back(pod.place.ip)
            self._wake.set()

    async def _step_proxies(self) -> None:
        # Taken together: both may have changed after any of the waits below.
        services = dict(self._services)
        wanted = {
            (service.name, port.port): port
            for service in self.wanted.services.values()
            for port in service.ports
        }
        for key, proxy in list(self._proxies.items()):
            if key not in wanted or proxy.front.host != services[key[0]]:
                self._retired.append(self._proxies.pop(key))
                await proxy.retire()
        self._retired = [proxy for proxy in self._retired if proxy.busy]
        for key, port in wanted.items():
            if key not in self._proxies:
                self._proxies[key] = ServiceProxy(self._front(services[key[0]], key[0], port))
            try:
                await self._proxies[key].update()
            except ClusterError as exc:
                self._complain(f"service {key[0]}: {exc}", exc.hint)

    def _front(self, host: str, service: str, port: ServicePort) -> Front:
        def endpoints() -> tuple[str, ...]:
            try:
                return self.endpoints(service, port.port)
            except NoRoute:
                return ()  # the service has just been taken away

        return Front(host, port.port, self._bridge, endpoints)

    # What pods are given

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            options=self.machine.options,
            credentials=self.machine.credentials,
            make_sandbox=self._make_sandbox,
            service_environment=self._service_environment,
            configs=lambda: self.wanted.configs,
            on_change=self._wake.set,
        )

    def _make_sandbox(self, place: Place) -> Sandbox:
        if self.machine.network is None:
            return OpenSandbox(self.machine.spawner, place)
        return IsolatedSandbox(self.machine.spawner, self.machine.network, place)

    def _service_environment(self) -> dict[str, str]:
        """`API_SERVICE_HOST` and `API_SERVICE_PORT`, as Kubernetes sets them."""
        env = {}
        for service in self.wanted.services.values():
            prefix = service.name.upper().replace("-", "_")
            env[f"{prefix}_SERVICE_HOST"] = self._services[service.name]
            if service.ports:
                env[f"{prefix}_SERVICE_PORT"] = str(service.ports[0].port)
        return env

    def _kept_paths(self, workload: WantedWorkload) -> list[str]:
        always = self.machine.options.own_folders()
        words: list[str] = []
        for container in workload.facts.pod.all_containers():
            known = {variable.name: variable.value for variable in container.env}
            words += local_command(workload.facts, container, known)
            if container.working_dir:
                always.append(container.working_dir)
        return kept_paths(words, always, self.machine.options.covered_folders())

    def _folder(self) -> Path:
        return self.machine.options.runtime_dir / "pods" / self.name
