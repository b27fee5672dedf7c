"""One pod: a sandbox, its containers and its sidecar, from the first process to the last."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from lapdev.cluster.driver import PodCredentials, SidecarPlan
from lapdev.cluster.manifests import Configs, Container
from lapdev.cluster.options import LocalOptions, base_environment
from lapdev.cluster.output import Output
from lapdev.cluster.programs import container_program, sealed_document, sidecar_launch
from lapdev.cluster.readiness import Check, container_check, ports_check
from lapdev.cluster.sandbox import Place, Program, Sandbox
from lapdev.cluster.spawner import Child
from lapdev.cluster.supervised import (
    CONTAINER_BACKOFF,
    SIDECAR_BACKOFF,
    Role,
    Supervised,
)
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError
from lapdev.log import get_logger
from lapdev.net.tasks import Tasks

SIDECAR_NAME = "lapdev-sidecar"
SIDECAR_STOP_TIMEOUT = 2.0
DRAIN_TIMEOUT = 5.0
"""A sidecar has this long to finish what it has before its app is asked to end."""
SETTLE_TIME = 0.1
"""After a pod has left its services' endpoints, for connections on their way to arrive. Seconds."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod needs from its namespace and its driver."""

    options: LocalOptions
    credentials: PodCredentials
    make_sandbox: Callable[[Place], Sandbox]
    service_environment: Callable[[], dict[str, str]]
    configs: Callable[[], Configs]
    on_change: Callable[[], None]


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A pod as it is now. Process ids are the manager's view."""

    name: str
    workload: str
    ip: str
    ready: bool
    restarts: int
    sidecar_pid: int | None
    container_pids: tuple[int, ...]
    holder_pid: int
    """The process that keeps the pod's namespaces; 0 where it has none."""


class Pod:
    """Runs until `request_stop`, through any number of its processes' deaths."""

    def __init__(self, workload: WantedWorkload, place: Place, around: Surroundings) -> None:
        self.workload = workload
        self.place = place
        self.problem = ""
        self.stopping = False
        self._around = around
        self._sandbox: Sandbox | None = None
        self._sandboxes_lost = 0
        self._grace = workload.facts.pod.termination_grace
        self._wake = asyncio.Event()
        containers = workload.facts.pod.containers
        self.containers = [self._supervise(self._container_role(each)) for each in containers]
        plan = workload.sidecar
        self.sidecar = self._supervise(self._sidecar_role(plan)) if plan else None

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def digest(self) -> str:
        return self.workload.digest

    @property
    def processes(self) -> list[Supervised]:
        return [*([self.sidecar] if self.sidecar else []), *self.containers]

    @property
    def ready(self) -> bool:
        return (
            not self.stopping
            and self._sandbox is not None
            and all(process.ready for process in self.processes)
        )

    @property
    def restarts(self) -> int:
        return self._sandboxes_lost + sum(container.restarts for container in self.containers)

    def info(self) -> PodInfo:
        return PodInfo(
            name=self.name,
            workload=self.workload.name,
            ip=self.place.ip,
            ready=self.ready,
            restarts=self.restarts,
            sidecar_pid=self.sidecar.pid if self.sidecar else None,
            container_pids=tuple(each.pid for each in self.containers if each.pid is not None),
            holder_pid=self._sandbox.holder_pid if self._sandbox else 0,
        )

    def why_not_ready(self) -> str:
        """One line for a person; empty when nothing is known to be wrong."""
        return self.problem or next((each.problem for each in self.processes if each.problem), "")

    def request_stop(self, grace_limit: float | None = None) -> None:
        """It takes no more traffic and is ending; `run` returns when it has."""
        if grace_limit is not None:
            self._grace = min(self._grace, grace_limit)
        self.stopping = True
        self._wake.set()

    async def run(self) -> None:
        """The pod's whole life. Afterwards nothing of it is left but its address."""
        pause = CONTAINER_BACKOFF
        try:
            while not self.stopping:
                try:
                    for process in self.processes:
                        await process.output.open()
                    await self._live()
                except ClusterError as exc:
                    self._failed(str(exc))
                except OSError as exc:
                    self._failed(f"cannot keep the pod's files: {exc.strerror}")
                if not self.stopping:
                    self._sandboxes_lost += 1
                    self._around.on_change()
                    await self._wait_stop(pause.pause(self._sandboxes_lost))
        finally:
            self._revoke()
            for process in self.processes:
                process.output.close()
            shutil.rmtree(self.place.folder, ignore_errors=True)

    def _failed(self, problem: str) -> None:
        self.problem = problem
        get_logger().warning("pod_failed", target=self.name, error=problem)

    async def _live(self) -> None:
        """From a new sandbox to its end."""
        sandbox = self._around.make_sandbox(self.place)
        await sandbox.start()
        self._sandbox, self.problem = sandbox, ""
        try:
            async with Tasks() as tasks:
                for process in self.processes:
                    tasks.spawn(self._keep(process, sandbox), f"{self.name}/{process.name}")
                tasks.spawn(self._tell_gone(sandbox), f"{self.name}/holder")
                await self._wake.wait()
                if self.stopping:
                    await self._wind_down()
                else:
                    self._wake.clear()
        finally:
            self._sandbox = None
            await asyncio.shield(sandbox.kill())

    async def _keep(self, process: Supervised, sandbox: Sandbox) -> None:
        try:
            await process.run(sandbox)
        except ClusterError as exc:
            self.problem = str(exc)
            self._wake.set()

    async def _tell_gone(self, sandbox: Sandbox) -> None:
        await sandbox.wait_gone()
        self.problem = "the pod's holder process ended"
        self._wake.set()

    async def _wind_down(self) -> None:
        # New requests go elsewhere already. Those that are here first get their answers from the
        # app; then it is told. What lasts longer (an event stream) is the app's own to end, so the
        # sidecar stays until it has.
        grace = self._grace
        if self.sidecar:
            await asyncio.sleep(min(grace, SETTLE_TIME))
            drained = min(grace / 2, DRAIN_TIMEOUT)
            await _stop([self.sidecar], drained)
            grace -= drained
        await _stop(self.containers, grace)
        if self.sidecar:
            await _stop([self.sidecar], min(self._grace, SIDECAR_STOP_TIMEOUT))

    async def _wait_stop(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    # Containers

    def _supervise(self, role: Role) -> Supervised:
        output = Output(self.place.folder / f"{role.name}.log")
        return Supervised(role, output, self._around.on_change)

    def _container_role(self, container: Container) -> Role:
        async def start(sandbox: Sandbox) -> Child:
            around, output = self._around, self._output(container.name).fd
            program = container_program(
                self.workload.facts,
                container,
                self.place,
                around.options,
                around.service_environment(),
                around.configs(),
            )
            return await sandbox.spawn(dataclasses.replace(program, output=output))

        def check(sandbox: Sandbox) -> Check:
            return container_check(container, sandbox)

        return Role(container.name, start, check, CONTAINER_BACKOFF, ended=lambda: None)

    def _output(self, name: str) -> Output:
        return next(process.output for process in self.processes if process.name == name)

    # The sidecar

    def _sidecar_role(self, plan: SidecarPlan) -> Role:
        async def start(sandbox: Sandbox) -> Child:
            return await self._start_sidecar(sandbox, plan)

        def check(sandbox: Sandbox) -> Check:
            return ports_check(sandbox, (port.proxy_port for port in plan.ports))

        return Role(SIDECAR_NAME, start, check, SIDECAR_BACKOFF, ended=self._revoke)

    async def _start_sidecar(self, sandbox: Sandbox, plan: SidecarPlan) -> Child:
        around = self._around
        launch = sidecar_launch(plan, self.place, around.options, around.credentials.issue)
        fd = sealed_document(launch)
        try:
            argv = [*around.options.sidecar_argv(), "--launch-fd", str(fd)]
            output = self._output(SIDECAR_NAME).fd
            program = Program(argv, base_environment(), "/", output, (fd,))
            return await sandbox.spawn(program, sidecar=True)
        finally:
            os.close(fd)

    def _revoke(self) -> None:
        if self.workload.sidecar:
            identity = dataclasses.replace(self.workload.sidecar.identity, pod=self.name)
            self._around.credentials.revoke(identity)


async def _stop(processes: list[Supervised], grace: float) -> None:
    """Each was asked to end, and had `grace` seconds for it."""
    for process in processes:
        process.stop()
    try:
        async with asyncio.timeout(grace):
            for process in processes:
                await process.wait_ended()
    except TimeoutError:
        return
