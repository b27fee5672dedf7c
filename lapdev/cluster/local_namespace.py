"""One environment namespace on this machine: its addresses, services and pods, kept as wanted.

Pods and services tell which workload has changed; only that one is looked at again.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import dataclass, field

from lapdev.cluster.done_jobs import DoneJobs
from lapdev.cluster.driver import LogQuery
from lapdev.cluster.gateway import Gateway
from lapdev.cluster.local_pods import Ground, Machine
from lapdev.cluster.local_services import LocalServices
from lapdev.cluster.local_workload import LocalWorkload
from lapdev.cluster.log_reader import LogReader
from lapdev.cluster.pod import Pod
from lapdev.cluster.subnets import Subnet
from lapdev.cluster.wanted import WantedNamespace, keeps_data
from lapdev.errors import ClusterError, ConfigError, NotFound
from lapdev.log import get_logger
from lapdev.model import LogLine, WorkloadStatus
from lapdev.net.tasks import Tasks


@dataclass(slots=True)
class LocalNamespace:
    """Works towards the last spec it was given, one step after every change."""

    name: str
    machine: Machine
    wanted: WantedNamespace = field(init=False)
    subnet: Subnet = field(init=False)
    services: LocalServices = field(init=False)
    _ground: Ground = field(init=False)
    _gateway: Gateway | None = None
    _workloads: dict[str, LocalWorkload] = field(default_factory=dict)
    """Those that are wanted, in the spec's order, and those whose pods are ending."""
    _touched: set[str] = field(default_factory=set)
    """Workloads to look at."""
    _reported: dict[str, object] = field(default_factory=dict)
    """Workload → what listeners have been told of it."""
    _readers: defaultdict[str, set[LogReader]] = field(default_factory=lambda: defaultdict(set))
    """Workload → who reads what it prints."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: Tasks = field(default_factory=Tasks)
    _complaints: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """It has addresses and, with isolation, a bridge with a gateway.

        Raises:
            ClusterError: this machine has no room for it; then nothing of it exists.
        """
        self.wanted = WantedNamespace(self.name, {}, {}, {})
        self.subnet = self.machine.plan.take()
        try:
            bridge = await self._open_network()
        except BaseException:
            self.machine.plan.give_back(self.subnet)
            raise
        self._ground = Ground(
            namespace=self.name,
            machine=self.machine,
            subnet=self.subnet,
            bridge=bridge,
            tasks=self._tasks,
            environment=self.services.environment,
            configs=lambda: self.wanted.configs,
            touch=self._touch,
            done_jobs=DoneJobs(self.machine.claims_folder(self.name)),
        )
        self._tasks.spawn(self._reconcile(), f"namespace:{self.name}")

    def apply(self, wanted: WantedNamespace) -> None:
        """Raises ClusterError when there are not enough addresses; then nothing has changed."""
        self._want(wanted)
        self._ground.done_jobs.keep(wanted.workloads)

    def _want(self, wanted: WantedNamespace) -> None:
        self.services.apply(wanted, self.pods())
        self.wanted = wanted
        # Where nothing was kept, what Jobs have done is gone with the pods of an earlier process.
        resumed = self._ground.done_jobs if keeps_data(wanted) else None
        gone, self._workloads = self._workloads, {}
        for name, workload in wanted.workloads.items():
            known = gone.pop(name, None) or LocalWorkload(name, self._ground)
            known.want(workload, resumed.get(name) if resumed else None)
            self._workloads[name] = known
        for name, known in gone.items():
            known.want(None)
            self._workloads[name] = known
        for name in self._workloads:
            self._touch(name)

    async def aclose(self, grace_limit: float | None = None) -> None:
        """No process, listener or address of the namespace is left."""
        self._want(WantedNamespace(self.name, {}, {}, {}))
        for workload in self._workloads.values():
            workload.request_stop(grace_limit)
        while running := self._running(self._workloads):
            await asyncio.wait(running)
        for name, workload in self._workloads.items():
            self._end_readers(name)
            workload.close()
        self._workloads.clear()
        await self._tasks.aclose()
        await self.services.aclose()
        await self._close_network()
        self.machine.plan.give_back(self.subnet)
        await asyncio.to_thread(shutil.rmtree, self._ground.folder, ignore_errors=True)

    async def wait_gone(self, workloads: Collection[str]) -> None:
        """No pod exists of those of these workloads that are not wanted."""
        while running := self._running(
            name for name in workloads if name not in self.wanted.workloads
        ):
            await asyncio.wait(running)

    # Questions

    def pods(self) -> list[Pod]:
        """Every pod that has not ended."""
        return [pod for workload in self._workloads.values() for pod in workload.pods]

    def status(self) -> tuple[WorkloadStatus, ...]:
        known = (workload.status for workload in self._workloads.values())
        return tuple(status for status in known if status is not None)

    async def logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Raises NotFound when there is no such workload, or it is followed and leaves the spec."""
        workload = self._workloads.get(query.workload)
        if workload is None:
            raise NotFound(f"{self.name} has no workload {query.workload}")
        reader = LogReader(query)
        readers = self._readers[query.workload]
        try:
            for line in await reader.backlog(workload.readable):
                yield line
            if not query.follow:
                return
            readers.add(reader)
            self._attach_readers(query.workload)
            async for line in reader.lines():
                yield line
        finally:
            reader.close()
            readers.discard(reader)

    # Becoming what is wanted

    async def _reconcile(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            touched, self._touched = self._touched, set()
            # In the spec's order: people put first what others need.
            for name in [name for name in self._workloads if name in touched]:
                self._step(name)
            try:
                await self.services.update()
            except Exception:
                # What went wrong with one service must not be the others' end.
                get_logger().exception("namespace_failed", target=self.name)
            self._report(touched)

    def _step(self, name: str) -> None:
        workload = self._workloads[name]
        try:
            workload.step()
        except (ClusterError, ConfigError) as exc:
            self._complain(f"{name}: {exc}", exc.hint)
        except Exception:
            get_logger().exception("namespace_failed", target=f"{self.name}/{name}")
        self._attach_readers(name)
        if workload.wanted is None and workload.empty:
            self._end_readers(name)
            workload.close()
            del self._workloads[name]

    def _attach_readers(self, workload: str) -> None:
        known = self._workloads.get(workload)
        if known is None:  # it left while its reader read what had been printed before
            self._end_readers(workload)
            return
        for reader in self._readers.get(workload, ()):
            reader.attach(known.readable)

    def _end_readers(self, workload: str) -> None:
        for reader in self._readers.get(workload, ()):
            reader.close(NotFound("the workload is no longer part of its environment"))

    def _report(self, touched: Collection[str]) -> None:
        """Whoever listens hears of it when the status, or which pods there are, has changed."""
        changed = False
        for name in touched:
            workload = self._workloads.get(name)
            facts = workload.facts() if workload else None
            if facts != self._reported.get(name):
                changed = True
                self._reported[name] = facts
            if workload is None:
                self._reported.pop(name, None)
        if changed:
            self.machine.changed(self.name)

    def _touch(self, workload: str) -> None:
        self.services.touch(workload)
        self._touched.add(workload)
        self._wake.set()

    def _complain(self, problem: str, hint: str) -> None:
        """Once: the same step is taken again after every change."""
        if problem not in self._complaints:
            self._complaints.add(problem)
            get_logger().error("namespace_failed", target=self.name, error=problem, hint=hint)

    def _running(self, workloads: Iterable[str]) -> list[asyncio.Task[None]]:
        """One task per pod of these workloads, until it has ended."""
        known = (self._workloads[name] for name in workloads if name in self._workloads)
        return [task for workload in known for task in workload.running]

    def _pods_of(self, workload: str) -> list[Pod]:
        known = self._workloads.get(workload)
        return known.pods if known else []

    # The network

    async def _open_network(self) -> str:
        """The bridge; empty without isolation."""
        network = self.machine.network
        bridge = await network.add_namespace(self.subnet) if network else ""
        self.services = LocalServices(self.name, self.subnet, bridge, self._pods_of, self._complain)
        if network is not None:
            gateway = Gateway(self.machine.options, self.subnet, bridge, self.services.resolve)
            try:
                await gateway.open()
            except BaseException:
                await asyncio.shield(network.remove_namespace(self.subnet))
                raise
            self._gateway = gateway
        return bridge

    async def _close_network(self) -> None:
        if self._gateway is not None:
            await self._gateway.aclose()
        if self.machine.network is not None:
            await self.machine.network.remove_namespace(self.subnet)
