"""A driver that runs nothing and keeps the contract, in memory.

It meets the same contract suite as the local driver (`tests/cluster/test_driver_contract.py`).
A manager test applies specs to it as usual, decides itself when pods become ready, and connects
as a sidecar with the launch document a real one would have got. What would end by itself, a Job,
is done when its pods would be ready.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from lapdev.cluster.controllers import check_runnable
from lapdev.cluster.driver import LogQuery, NamespaceSpec, PodCredentials, SidecarLaunch
from lapdev.cluster.manifests import RestartPolicy, WorkloadKind
from lapdev.cluster.wanted import (
    WantedNamespace,
    WantedWorkload,
    endpoint_port,
    service_port,
    wanted_namespace,
)
from lapdev.errors import NoRoute, NotFound
from lapdev.model import LogLine, SidecarIdentity, WorkloadStatus

PRINTED = ("starting", "serving")
"""What every container of every pod prints."""


class FakeCredentials:
    """Remembers which tokens are valid."""

    def __init__(self) -> None:
        self.valid: dict[str, SidecarIdentity] = {}
        self._count = 0

    def issue(self, identity: SidecarIdentity) -> str:
        self._count += 1
        token = f"token-{self._count}"
        self.valid[token] = identity
        return token

    def revoke(self, identity: SidecarIdentity) -> None:
        self.valid = {token: known for token, known in self.valid.items() if known != identity}


@dataclass(slots=True)
class FakePod:
    name: str
    ip: str
    workload: WantedWorkload
    launch: SidecarLaunch | None
    ready: bool = False

    @property
    def ends(self) -> bool:
        """It is there to do something and be done."""
        return self.workload.facts.pod.restart is not RestartPolicy.ALWAYS


class FakeDriver:
    """With `hold`, pods stay unready until `make_ready`; else they are ready in the next turn."""

    name = "fake"
    detail = ""

    def __init__(
        self,
        credentials: PodCredentials | None = None,
        *,
        hold: bool = False,
        manager_address: str = "unix:/nowhere/manager.sock",
    ) -> None:
        self.credentials = credentials or FakeCredentials()
        self.hold = hold
        self.manager_address = manager_address
        self.applied: list[NamespaceSpec] = []
        """Every spec that was taken, in order."""
        self.retained: list[set[str]] = []
        """What was asked to be retained, in order."""
        self.waited: list[tuple[str, set[str]]] = []
        self.claims_removed: list[tuple[str, str]] = []
        """(namespace, owner)."""
        """Namespace and workloads whose end was waited for, in order."""
        self.closed = False
        self._wanted: dict[str, WantedNamespace] = {}
        self._pods: dict[str, list[FakePod]] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._overrides: dict[tuple[str, str, int], tuple[str, ...]] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._count = 0
        self._changes = asyncio.Event()

    # What a test asks and decides

    def pods(self, namespace: str, workload: str = "") -> list[FakePod]:
        found = self._pods.get(namespace, [])
        return [pod for pod in found if workload in ("", pod.workload.name)]

    def launch(self, namespace: str, workload: str) -> SidecarLaunch:
        """What the sidecar of the workload's first pod was started with."""
        launch = self.pods(namespace, workload)[0].launch
        assert launch is not None, f"{workload} has no sidecar"
        return launch

    def make_ready(self, namespace: str, workload: str = "", *, ready: bool = True) -> None:
        for pod in self.pods(namespace, workload):
            pod.ready = ready
        self._changed(namespace)

    def fail(self, namespace: str, workload: str, why: str) -> None:
        """The workload has failed for good, until it is another; with an empty `why` it has not."""
        self._failures[namespace, workload] = why
        self._changed(namespace)

    def replace_pods(self, namespace: str, workload: str) -> None:
        """The workload's pods die and others take their place, under new names and tokens."""
        for pod in self.pods(namespace, workload):
            self._stop(namespace, pod)
            self._start(namespace, pod.workload)
        self._settle(namespace)

    def set_endpoints(self, namespace: str, service: str, port: int, *endpoints: str) -> None:
        """The service port is served at these real addresses instead of the invented ones."""
        self._overrides[namespace, service, port] = endpoints

    # The contract

    async def start(self) -> None:
        return

    async def aclose(self) -> None:
        for namespace in list(self._wanted):
            await self.delete(namespace)
        self.closed = True

    async def apply(self, spec: NamespaceSpec) -> None:
        wanted = wanted_namespace(spec)
        check_runnable(wanted)
        self.applied.append(spec)
        self._wanted[spec.name] = wanted
        self._pods.setdefault(spec.name, [])
        for pod in self.pods(spec.name):
            target = wanted.workloads.get(pod.workload.name)
            if target is None or not _same(target, pod.workload):
                self._failures.pop((spec.name, pod.workload.name), None)
                self._stop(spec.name, pod)
        for workload in wanted.workloads.values():
            running = self.pods(spec.name, workload.name)
            for pod in running[_size(workload) :]:
                self._stop(spec.name, pod)
            for _ in range(_size(workload) - len(running)):
                self._start(spec.name, workload)
        self._settle(spec.name)

    async def delete(self, namespace: str) -> None:
        for pod in self.pods(namespace):
            self._stop(namespace, pod)
        self._pods.pop(namespace, None)
        if self._wanted.pop(namespace, None):
            self._changed(namespace)

    async def remove_claims(self, namespace: str, owner: str) -> None:
        self.claims_removed.append((namespace, owner))

    async def retain(self, namespaces: Collection[str], owners: Collection[str]) -> None:
        self.retained.append(set(namespaces))
        for namespace in self._wanted.keys() - set(namespaces):
            await self.delete(namespace)

    async def wait_gone(self, namespace: str, workloads: Collection[str]) -> None:
        # Its pods are gone as soon as they are not wanted.
        self.waited.append((namespace, set(workloads)))

    def status(self, namespace: str) -> tuple[WorkloadStatus, ...]:
        wanted = self._wanted.get(namespace)
        if wanted is None:
            return ()
        return tuple(
            self._workload_status(namespace, workload) for workload in wanted.workloads.values()
        )

    def on_change(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def service_host(self, namespace: str, service: str) -> str:
        wanted = self._wanted.get(namespace)
        if wanted is None or service not in wanted.services:
            raise NoRoute(f"{namespace} has no service {service}")
        return wanted.services[service].external_name or f"{service}.{namespace}.svc"

    def endpoints(self, namespace: str, service: str, port: int) -> tuple[str, ...]:
        wanted = self._wanted.get(namespace)
        if wanted and service in wanted.services and wanted.services[service].external_name:
            raise NoRoute(f"service {service} is only another name for another host")
        declared = service_port(wanted, service, port)
        assert wanted is not None
        override = self._overrides.get((namespace, service, port))
        if override is not None:
            return override
        return tuple(
            f"{pod.ip}:{number}"
            for pod in self.pods(namespace)
            if pod.ready and not pod.ends
            if wanted.services[service].selects(pod.workload.facts.pod.labels)
            if (number := endpoint_port(pod.workload, service, declared)) is not None
        )

    async def logs(self, namespace: str, query: LogQuery) -> AsyncIterator[LogLine]:
        told: set[str] = set()
        while True:
            changes, wanted = self._changes, self._wanted.get(namespace)
            if wanted is None or query.workload not in wanted.workloads:
                raise NotFound(f"{namespace} has no workload {query.workload}")
            for pod in self.pods(namespace, query.workload):
                if pod.name not in told:
                    told.add(pod.name)
                    for line in _printed(pod, query):
                        yield line
            if not query.follow:
                return
            await changes.wait()

    # Inside

    def _workload_status(self, namespace: str, workload: WantedWorkload) -> WorkloadStatus:
        pods = self.pods(namespace, workload.name)
        ready = sum(pod.ready for pod in pods)
        return WorkloadStatus(
            name=workload.name,
            kind=workload.facts.kind,
            wanted=_size(workload),
            ready=ready,
            succeeded=sum(pod.ready for pod in pods if pod.ends),
            failed=self._failures.get((namespace, workload.name), ""),
        )

    def _start(self, namespace: str, workload: WantedWorkload) -> None:
        self._count += 1
        name = f"{workload.name}-{self._count:05}"
        launch = None
        if workload.sidecar:
            identity = dataclasses.replace(workload.sidecar.identity, pod=name)
            token = self.credentials.issue(identity)
            launch = SidecarLaunch(identity, workload.sidecar.ports, self.manager_address, token)
        ip = f"198.18.{self._count // 250}.{self._count % 250 + 2}"
        self._pods[namespace].append(FakePod(name, ip, workload, launch))

    def _stop(self, namespace: str, pod: FakePod) -> None:
        self._pods[namespace].remove(pod)
        if pod.launch:
            self.credentials.revoke(pod.launch.identity)

    def _settle(self, namespace: str) -> None:
        self._changed(namespace)
        if not self.hold:
            asyncio.get_running_loop().call_soon(self.make_ready, namespace)

    def _changed(self, namespace: str) -> None:
        changes, self._changes = self._changes, asyncio.Event()
        changes.set()
        for callback in self._callbacks:
            callback(namespace)


def _same(one: WantedWorkload, other: WantedWorkload) -> bool:
    return (one.digest, one.facts.kind) == (other.digest, other.facts.kind)


def _size(workload: WantedWorkload) -> int:
    """How many pods it has, those that are done included."""
    facts = workload.facts
    if facts.kind is WorkloadKind.JOB and facts.job is not None:
        return 0 if facts.job.suspended else facts.job.completions
    return facts.replicas


def _printed(pod: FakePod, query: LogQuery) -> list[LogLine]:
    lines = PRINTED[max(0, len(PRINTED) - query.lines) :]
    return [
        LogLine(float(number), pod.name, container.name, text)
        for container in pod.workload.facts.pod.all_containers()
        if query.container in ("", container.name)
        for number, text in enumerate(lines)
    ]
