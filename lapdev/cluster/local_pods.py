"""What the pods of a namespace are made from on this machine: names, addresses, folders."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster.cgroups import Limits
from lapdev.cluster.controllers import (
    Start,
    has_fixed_name,
    pod_hostname,
    pod_name,
    pod_subdomain,
    pod_workload,
)
from lapdev.cluster.done_jobs import DoneJobs
from lapdev.cluster.driver import PodCredentials
from lapdev.cluster.machine_ports import MachinePorts
from lapdev.cluster.manifests import Claim, Configs, WorkloadKind, local_command
from lapdev.cluster.network import Network
from lapdev.cluster.open_sandbox import OpenSandbox
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.pod import Pod, Surroundings
from lapdev.cluster.pod_files import kept_paths
from lapdev.cluster.sandbox import IsolatedSandbox, Place, Sandbox
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import AddressPlan, Subnet
from lapdev.cluster.volumes import claim_folder, remove_claims
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError
from lapdev.net.tasks import Tasks

POD_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
POD_SUFFIX_LENGTH = 5


@dataclass(slots=True)
class Machine:
    """What all namespaces share."""

    options: LocalOptions
    credentials: PodCredentials
    spawner: Spawner
    network: Network | None
    """None: without isolation."""
    plan: AddressPlan
    changed: Callable[[str], None]
    limits: Limits = field(default_factory=Limits)
    """What was found out about this machine's cgroups."""
    forks: SidecarForks | None = None
    """None: sidecars are started as programs."""
    ports: MachinePorts = field(default_factory=MachinePorts)
    """Of use without isolation."""

    def claims_folder(self, namespace: str = "") -> Path:
        """Where claims are kept that outlive pods: of one namespace, or of all."""
        options = self.options
        return (options.volumes_dir or options.runtime_dir / "volumes") / namespace


@dataclass(slots=True)
class Ground:
    """Where the pods of one namespace stand."""

    namespace: str
    machine: Machine
    subnet: Subnet
    bridge: str
    tasks: Tasks
    environment: Callable[[], dict[str, str]]
    configs: Callable[[], Configs]
    touch: Callable[[str], None]
    """Takes a workload that has to be looked at."""
    done_jobs: DoneJobs
    _names: set[str] = field(default_factory=set)
    """Of pods that have not ended."""
    _starved: set[str] = field(default_factory=set)
    """Workloads that found no address for a pod."""
    _serial: Iterator[int] = field(default_factory=itertools.count)

    @property
    def folder(self) -> Path:
        return self.machine.options.runtime_dir / "pods" / self.namespace

    def make_pod(self, wanted: WantedWorkload, start: Start) -> Pod:
        """A pod that has not been started. Its owner gives it back with `release`.

        Raises:
            ClusterError: there is no address, or another workload's pod has its name.
        """
        name = self._free_name(wanted, start)
        workload = pod_workload(wanted, start, name)
        try:
            ip = self.subnet.pods.take()
        except ClusterError:
            self._starved.add(wanted.name)
            raise
        self._names.add(name)
        place = Place(
            name=name,
            namespace=self.namespace,
            ip=ip,
            subnet=self.subnet,
            bridge=self.bridge,
            # Not by its name alone: what the last one of that name printed may still be there.
            folder=self.folder / f"{name}.{next(self._serial)}",
            fresh=tuple(self.machine.options.covered_folders()),
            keep=tuple(self._kept_paths(workload)),
            host_aliases=workload.facts.pod.host_aliases,
            hostname=pod_hostname(wanted, start, name),
            subdomain=pod_subdomain(wanted),
        )
        return Pod(workload, place, self._surroundings(wanted.name))

    async def release(self, pod: Pod) -> None:
        """The pod has ended: what was its own is gone, its name and address may be another's."""
        for folder in self._own_claims(pod):
            await asyncio.shield(asyncio.to_thread(remove_claims, folder))
        self._names.discard(pod.name)
        self.subnet.pods.give_back(pod.place.ip)
        for workload in self._starved:
            self.touch(workload)
        self._starved.clear()

    def forget(self, pod: Pod) -> None:
        """What the ended pod printed is gone."""
        self.tasks.spawn(asyncio.to_thread(pod.forget), f"forget:{pod.name}")

    def _own_claims(self, pod: Pod) -> list[Path]:
        """Of ephemeral volumes. What a pod of a StatefulSet has claimed waits for the next."""
        if pod.workload.facts.kind is WorkloadKind.STATEFUL_SET:
            return []
        sources = (volume.source for volume in pod.workload.facts.pod.volumes)
        claims = [each for each in sources if isinstance(each, Claim) and each.per_pod]
        folder = self.machine.claims_folder(self.namespace)
        owner = pod.workload.claims_of
        return [folder / claim_folder(claim, pod.name, owner) for claim in claims]

    def _free_name(self, wanted: WantedWorkload, start: Start) -> str:
        while True:
            suffix = "".join(secrets.choice(POD_SUFFIX) for _ in range(POD_SUFFIX_LENGTH))
            name = pod_name(wanted, start, suffix)
            if name not in self._names:
                return name
            if has_fixed_name(wanted):
                raise ClusterError(
                    f"another workload has a pod called {name}", hint="rename one of the two"
                )

    def _surroundings(self, workload: str) -> Surroundings:
        return Surroundings(
            options=self.machine.options,
            credentials=self.machine.credentials,
            make_sandbox=self._make_sandbox,
            service_environment=self.environment,
            configs=self.configs,
            on_change=lambda: self.touch(workload),
            forks=self.machine.forks,
        )

    def _make_sandbox(self, place: Place) -> Sandbox:
        spawner, network = self.machine.spawner, self.machine.network
        if network is None:
            return OpenSandbox(spawner, place, self.machine.ports, self.machine.limits)
        return IsolatedSandbox(spawner, network, place, self.machine.limits)

    def _kept_paths(self, workload: WantedWorkload) -> list[str]:
        options = self.machine.options
        words: list[str] = []
        for container in workload.facts.pod.all_containers():
            known = {variable.name: variable.value for variable in container.env}
            words += local_command(workload.facts, container, known)
            words.append(container.working_dir)
        always, covered = options.own_folders(), options.covered_folders()
        return kept_paths(words, always, covered, options.refused_paths())
