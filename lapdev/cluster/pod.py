"""One pod: a sandbox, its containers and its sidecar, from the first process to the last.

Life of a pod: its sandbox starts, lapdev's sidecar with it; volumes are made; init containers run
in order, native sidecars start in their turn, then the containers, all together. It ends when it
is told to, or when no container will run again. A sandbox that broke down is replaced, and all
begins again from the init containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass

from lapdev.cluster.containers import SIDECAR_NAME, SIDECAR_STOP_TIMEOUT
from lapdev.cluster.crew import Crew, Member
from lapdev.cluster.exits import explained
from lapdev.cluster.manifests import RestartPolicy
from lapdev.cluster.pod_phase import Part, PodPhase, can_update
from lapdev.cluster.pod_processes import PodProcesses, Surroundings
from lapdev.cluster.sandbox import Place, Sandbox
from lapdev.cluster.supervised import CONTAINER_BACKOFF, Supervised
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError, ConfigError
from lapdev.log import get_logger
from lapdev.model import ContainerStatus
from lapdev.net.tasks import Tasks

__all__ = ["SIDECAR_NAME", "Pod", "PodInfo", "PodPhase", "Surroundings"]

DRAIN_TIMEOUT = 5.0
"""A sidecar has this long to finish what it has before its app is asked to end."""
SETTLE_TIME = 0.1
"""After a pod has left its services' endpoints, for connections on their way to arrive. Seconds."""


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
    phase: PodPhase = PodPhase.PENDING
    last_exit: str = ""


class Pod:
    """Runs until `request_stop` or its containers' end, through any number of deaths."""

    def __init__(self, workload: WantedWorkload, place: Place, around: Surroundings) -> None:
        self.place = place
        self.problem = ""
        self.stopping = False
        self.finished_at: float | None = None
        """When it became SUCCEEDED or FAILED, by the loop's clock."""
        self._around = around
        self._processes = PodProcesses(workload, place, around)
        self._sandbox: Sandbox | None = None
        self._sandboxes_lost = 0
        self._crew: Crew | None = None
        self._outcome: PodPhase | None = None
        self._grace = workload.facts.pod.termination_grace
        self._patience: asyncio.Timeout | None = None
        """How long its containers are still waited for while it is ending."""
        self._wake = asyncio.Event()

    @property
    def workload(self) -> WantedWorkload:
        return self._processes.workload

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def digest(self) -> str:
        return self.workload.digest

    @property
    def containers(self) -> list[Supervised]:
        """In the order they start."""
        return [member.process for member in self._processes.lineup]

    @property
    def sidecar(self) -> Supervised | None:
        return self._processes.sidecar

    @property
    def phase(self) -> PodPhase:
        if self.finished_at is not None and self._outcome is not None:
            return self._outcome
        running = self._crew is not None and self._crew.was_complete
        return PodPhase.RUNNING if running else PodPhase.PENDING

    @property
    def ready(self) -> bool:
        """Every container that serves is ready; those that are done do not count."""
        return (
            not self.stopping
            and self._outcome is None
            and self._crew is not None
            and self._crew.complete
            and (self.sidecar is None or self.sidecar.ready)
            and all(_serves(member) for member in self._processes.lineup)
        )

    @property
    def restarts(self) -> int:
        return self._sandboxes_lost + sum(container.restarts for container in self.containers)

    @property
    def last_exit(self) -> str:
        """How a container of it last ended that should not have: `web: exit code 1: no table`.

        One that has done its work for good says nothing.
        """
        ended = [each for each in self.containers if each.last_exit and not _done(each)]
        latest = max(ended, key=lambda each: each.ended_at, default=None)
        return f"{latest.name}: {latest.last_exit}" if latest else ""

    def container_states(self) -> tuple[ContainerStatus, ...]:
        """Of each container, in the order they start; none where there is only one."""
        several = self.containers if len(self.containers) > 1 else ()
        return tuple(
            ContainerStatus(self.name, each.name, each.state, each.restarts, each.last_exit)
            for each in several
        )

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
            phase=self.phase,
            last_exit=self.last_exit,
        )

    def why_not_ready(self) -> str:
        """One line for a person; empty when nothing is known to be wrong."""
        problems = (each.problem for each in self._processes.all if each.problem)
        waits_for = self._crew.waits_for if self._crew else ""
        return self.problem or next(problems, waits_for)

    def request_stop(self, grace_limit: float | None = None) -> None:
        """It takes no more traffic and is ending; `run` returns when it has.

        Asked again with less grace, it ends sooner.
        """
        if grace_limit is not None and grace_limit < self._grace:
            self._grace = grace_limit
            if self._patience is not None and not self._patience.expired():
                sooner = asyncio.get_running_loop().time() + grace_limit
                self._patience.reschedule(min(self._patience.when() or sooner, sooner))
        self.stopping = True
        self._wake.set()

    # Becoming another

    def can_update(self, workload: WantedWorkload) -> bool:
        """It can become a pod of that workload: no more than its containers differ."""
        ending = self.stopping or self._outcome is not None
        return not ending and can_update(self.workload, workload)

    def update(self, workload: WantedWorkload) -> None:
        """It becomes a pod of that workload, which `can_update`; it is ready when it has.

        Containers that differ, or are gone, end first. Then those that differ, or are new, start
        in their turn; a changed init container runs again. All others stay as they are.
        """
        self._processes.update(workload)
        with contextlib.suppress(OSError):  # then their lines are in memory only
            self._processes.open()
        if self._crew is not None:
            self._crew.update(self._processes.lineup)
        self._around.on_change()

    # Living

    async def run(self) -> None:
        """The pod's whole life. Afterwards no process of it is left.

        What a finished pod printed stays readable, until it is forgotten.
        """
        short_lives = 0
        loop = asyncio.get_running_loop()
        try:
            while not self.stopping and self._outcome is None:
                began = loop.time()
                await self._try_to_live()
                if self.stopping or self._outcome is not None:
                    break
                lasted = loop.time() - began >= CONTAINER_BACKOFF.healthy
                short_lives = 1 if lasted else short_lives + 1
                self._sandboxes_lost += 1
                self._around.on_change()
                await self._wait_stop(CONTAINER_BACKOFF.pause(short_lives))
        finally:
            keep_logs = self._outcome is not None and not self.stopping
            await asyncio.shield(self._processes.aclose(keep_logs=keep_logs))
        if self._outcome is not None:
            self.finished_at = loop.time()
            self._around.on_change()

    def forget(self) -> None:
        """What a finished pod printed is gone from the disk. Idempotent."""
        shutil.rmtree(self.place.folder, ignore_errors=True)

    async def _try_to_live(self) -> None:
        try:
            self._processes.open()
            await self._live()
        except (ClusterError, ConfigError) as exc:
            self._failed(explained(exc))
        except OSError as exc:
            self._failed(f"cannot keep the pod's files: {exc.strerror}")

    def _failed(self, problem: str) -> None:
        self.problem = problem
        get_logger().warning("pod_failed", target=self.name, error=problem)

    async def _live(self) -> None:
        """From a new sandbox to its end."""
        sandbox = self._around.make_sandbox(self.place)
        await sandbox.start()
        self._sandbox, self.problem = sandbox, ""
        self._crew = crew = self._make_crew(sandbox)
        try:
            async with Tasks() as tasks:
                if self.sidecar:
                    tasks.spawn(self._keep_sidecar(self.sidecar, sandbox), f"{self.name}/sidecar")
                tasks.spawn(self._tell_gone(sandbox), f"{self.name}/holder")
                working = tasks.spawn(self._follow(crew), f"{self.name}/containers")
                await self._wake.wait()
                if self.stopping or self._outcome is not None:
                    working.cancel()
                    await asyncio.wait([working])
                    await self._wind_down(crew)
                self._wake.clear()
                if crew.was_complete and self._never_again():
                    self._outcome = self._outcome or PodPhase.FAILED
        finally:
            self._sandbox = self._crew = None
            await asyncio.shield(self._end(sandbox, crew))

    def _make_crew(self, sandbox: Sandbox) -> Crew:
        processes = self._processes
        return Crew(sandbox, processes.lineup, processes.prepare, self._around.on_change)

    async def _end(self, sandbox: Sandbox, crew: Crew) -> None:
        # In this order: what is being started at this moment is not left behind.
        await crew.aclose()
        await sandbox.kill()

    def _never_again(self) -> bool:
        """Containers that were started once are not started in another sandbox."""
        return self.workload.facts.pod.restart is RestartPolicy.NEVER

    async def _follow(self, crew: Crew) -> None:
        """The containers' end, or why they cannot be started, is known to the pod."""
        try:
            well = await crew.run()
            self._outcome = PodPhase.SUCCEEDED if well else PodPhase.FAILED
        except (ClusterError, ConfigError) as exc:
            self._failed(explained(exc))
        self._wake.set()

    async def _keep_sidecar(self, sidecar: Supervised, sandbox: Sandbox) -> None:
        try:
            await sidecar.run(sandbox)
        except ClusterError as exc:
            self.problem = str(exc)
            self._wake.set()

    async def _tell_gone(self, sandbox: Sandbox) -> None:
        await sandbox.wait_gone()
        self.problem = "the pod's holder process ended"
        self._wake.set()

    # Ending

    async def _wind_down(self, crew: Crew) -> None:
        # New requests go elsewhere already. Those that are here first get their answers from the
        # app; then it is told. What lasts longer (an event stream) is the app's own to end, so the
        # sidecar stays until it has.
        try:
            async with asyncio.timeout(self._grace) as self._patience:
                if self.sidecar and self.stopping:
                    await asyncio.sleep(min(self._grace, SETTLE_TIME))
                    await _within(min(self._grace / 2, DRAIN_TIMEOUT), self.sidecar)
                await crew.wind_down()
        except TimeoutError:
            await crew.cut_short(min(self._grace, SIDECAR_STOP_TIMEOUT))
        finally:
            self._patience = None
        if self.sidecar:
            await _within(min(self._grace, SIDECAR_STOP_TIMEOUT), self.sidecar)

    async def _wait_stop(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _serves(member: Member) -> bool:
    """Ready, or done with what it was there for."""
    return member.part is Part.INIT or member.process.ready or _done(member.process)


def _done(container: Supervised) -> bool:
    """It ended well, and for good."""
    return container.final is not None and container.final.ok


async def _within(seconds: float, process: Supervised) -> None:
    """It was asked to end, and had that long for it."""
    try:
        async with asyncio.timeout(seconds):
            await process.stop()
    except TimeoutError:
        return
