"""One pod: a sandbox, its containers and its sidecar, from the first process to the last.

Life of a pod: its sandbox starts, lapdev's sidecar with it; volumes are made; init containers run
in order, native sidecars start in their turn, then the containers, all together. It ends when it
is told to, or when no container will run again. A sandbox that broke down is replaced, and all
begins again from the init containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lapdev.cluster.containers import (
    SIDECAR_NAME,
    SIDECAR_STOP_TIMEOUT,
    ContainerRole,
    Neighbourhood,
    SidecarRole,
)
from lapdev.cluster.crew import Crew, Member
from lapdev.cluster.driver import PodCredentials, SidecarLaunch, SidecarPlan
from lapdev.cluster.manifests import Configs, Container, RestartPolicy
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.output import Output
from lapdev.cluster.pod_phase import Entry, Part, PodPhase, can_update, entries, unchanged
from lapdev.cluster.programs import Situation, container_program, pod_facts, sidecar_launch
from lapdev.cluster.sandbox import Place, Program, Sandbox
from lapdev.cluster.supervised import CONTAINER_BACKOFF, Role, Supervised
from lapdev.cluster.volumes import VolumeFolders, prepare, release
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError, ConfigError
from lapdev.log import get_logger
from lapdev.net.tasks import Tasks

__all__ = ["SIDECAR_NAME", "Pod", "PodInfo", "PodPhase", "Surroundings"]

LOGS_FOLDER = "logs"
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
    phase: PodPhase = PodPhase.PENDING
    last_exit: str = ""


class Pod:
    """Runs until `request_stop` or its containers' end, through any number of deaths."""

    def __init__(self, workload: WantedWorkload, place: Place, around: Surroundings) -> None:
        self.workload = workload
        self.place = place
        self.problem = ""
        self.stopping = False
        self.finished_at: float | None = None
        """When it became SUCCEEDED or FAILED, by the loop's clock."""
        self._around = around
        self._sandbox: Sandbox | None = None
        self._crew: Crew | None = None
        self._volumes: dict[str, str] = {}
        self._sandboxes_lost = 0
        self._grace = workload.facts.pod.termination_grace
        self._patience: asyncio.Timeout | None = None
        """How long its containers are still waited for while it is ending."""
        self._outcome: PodPhase | None = None
        self._wake = asyncio.Event()
        self._outputs: dict[str, Output] = {}
        self._lineup = [self._member(entry) for entry in entries(workload.facts.pod)]
        plan = workload.sidecar
        self.sidecar = self._supervise(self._sidecar_role(plan)) if plan else None

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def digest(self) -> str:
        return self.workload.digest

    @property
    def containers(self) -> list[Supervised]:
        """In the order they start."""
        return [member.process for member in self._lineup]

    @property
    def processes(self) -> list[Supervised]:
        return [*([self.sidecar] if self.sidecar else []), *self.containers]

    @property
    def phase(self) -> PodPhase:
        if self.finished_at is not None and self._outcome is not None:
            return self._outcome
        running = self._crew is not None and self._crew.complete
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
            and all(_serves(member) for member in self._lineup)
        )

    @property
    def restarts(self) -> int:
        return self._sandboxes_lost + sum(container.restarts for container in self.containers)

    @property
    def last_exit(self) -> str:
        """How a container of it last ended: `web: exit code 1: no such table`."""
        ended = [each for each in self.containers if each.last_exit]
        latest = max(ended, key=lambda each: each.ended_at, default=None)
        return f"{latest.name}: {latest.last_exit}" if latest else ""

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
        problems = (each.problem for each in self.processes if each.problem)
        waits_for = self._crew.waits_for if self._crew else ""
        return self.problem or next(problems, waits_for)

    def request_stop(self, grace_limit: float | None = None) -> None:
        """It takes no more traffic and is ending; `run` returns when it has.

        Asked again with less grace, it ends sooner.
        """
        if grace_limit is not None and grace_limit < self._grace:
            self._grace = grace_limit
            if self._patience is not None:
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
        same = unchanged(self.workload, workload)
        known = {member.process.name: member for member in self._lineup}
        self.workload = workload
        self._lineup = [
            known[entry.container.name] if entry.container.name in same else self._member(entry)
            for entry in entries(workload.facts.pod)
        ]
        with contextlib.suppress(OSError):  # then their lines are in memory only
            self._open_outputs()
        if self._crew is not None:
            self._crew.update(self._lineup)
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
            if self.workload.sidecar:
                self._revoke(self.workload.sidecar)
            for output in self._outputs.values():
                output.close()
            await asyncio.shield(asyncio.to_thread(self._clear_folder))
        if self._outcome is not None:
            self.finished_at = loop.time()
            self._around.on_change()

    def forget(self) -> None:
        """What a finished pod printed is gone from the disk. Idempotent."""
        shutil.rmtree(self.place.folder, ignore_errors=True)

    async def _try_to_live(self) -> None:
        try:
            self._open_outputs()
            await self._live()
        except (ClusterError, ConfigError) as exc:
            self._failed(str(exc))
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
        self._crew = crew = Crew(sandbox, self._lineup, self._prepare, self._around.on_change)
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
                if crew.complete and self._never_again():
                    self._outcome = self._outcome or PodPhase.FAILED
        finally:
            self._sandbox = self._crew = None
            await asyncio.shield(self._end(sandbox, crew))

    async def _end(self, sandbox: Sandbox, crew: Crew) -> None:
        await sandbox.kill()
        await crew.aclose()

    def _never_again(self) -> bool:
        """Containers that were started once are not started in another sandbox."""
        return self.workload.facts.pod.restart is RestartPolicy.NEVER

    async def _follow(self, crew: Crew) -> None:
        """The containers' end, or why they cannot be started, is known to the pod."""
        try:
            well = await crew.run()
            self._outcome = PodPhase.SUCCEEDED if well else PodPhase.FAILED
        except (ClusterError, ConfigError, OSError) as exc:
            self._failed(str(exc))
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

    async def _prepare(self) -> None:
        """Its volumes are there, with the content that they have now."""
        facts, configs = self.workload.facts, self._around.configs()
        about = pod_facts(facts, self.place)
        preparing = asyncio.to_thread(prepare, facts.pod, about, configs, self._volume_folders())
        self._volumes = await asyncio.shield(preparing)

    def _volume_folders(self) -> VolumeFolders:
        options = self._around.options
        claims = options.volumes_dir or options.runtime_dir / "volumes"
        return VolumeFolders(self.place.folder / "volumes", claims / self.place.namespace)

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

    def _clear_folder(self) -> None:
        """Of a finished pod, what it printed stays; of any other, nothing."""
        release(self.place.folder)
        if self._outcome is None or self.stopping:
            self.forget()
        elif self.place.folder.is_dir():
            for entry in self.place.folder.iterdir():
                if entry.name != LOGS_FOLDER:
                    shutil.rmtree(entry, ignore_errors=True)

    # Its processes

    def _member(self, entry: Entry) -> Member:
        around = Neighbourhood(self._program, self._held_ports)
        grace = self.workload.facts.pod.termination_grace
        role = ContainerRole(entry.container, entry.policy, grace, around)
        return Member(entry.part, self._supervise(role))

    def _supervise(self, role: Role) -> Supervised:
        """A process of its own; what it prints goes where one of its name printed before."""
        file = self.place.folder / LOGS_FOLDER / f"{role.name}.log"
        output = self._outputs.setdefault(role.name, Output(file))
        return Supervised(role, output, self._around.on_change)

    def _open_outputs(self) -> None:
        for output in self._outputs.values():
            output.open()

    def _program(self, container: Container) -> Program:
        around = self._around
        services, configs = around.service_environment(), around.configs()
        here = Situation(self.place, around.options, services, configs, self._volumes)
        program = container_program(self.workload.facts, container, here)
        for mount in () if around.options.isolation else program.mounts:
            if mount.within:
                _make_folder(Path(mount.source))  # with isolation, what mounts it does so
        return program

    def _held_ports(self, sandbox: Sandbox, but: str) -> Mapping[str, frozenset[int]]:
        owners = sandbox.port_owners()
        return {
            "lapdev's own sidecar" if each is self.sidecar else f"container {each.name}": frozenset(
                port for port, sessions in owners.items() if each.pid in sessions
            )
            for each in self.processes
            if each.pid is not None and each.name != but
        }

    def _sidecar_role(self, plan: SidecarPlan) -> SidecarRole:
        around = self._around

        def launch() -> SidecarLaunch:
            return sidecar_launch(plan, self.place, around.options, around.credentials.issue)

        def revoke() -> None:
            self._revoke(plan)

        return SidecarRole(plan, around.options, launch, revoke, self._held_ports)

    def _revoke(self, plan: SidecarPlan) -> None:
        self._around.credentials.revoke(dataclasses.replace(plan.identity, pod=self.name))


def _serves(member: Member) -> bool:
    """Ready, or done with what it was there for."""
    final = member.process.final
    return member.part is Part.INIT or member.process.ready or bool(final and final.ok)


def _make_folder(path: Path) -> None:
    """There is something at the path; where nothing was, a folder."""
    if not path.exists():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ClusterError(f"cannot make subPath {path}: {exc.strerror}") from exc


async def _within(seconds: float, process: Supervised) -> None:
    """It was asked to end, and had that long for it."""
    try:
        async with asyncio.timeout(seconds):
            await process.stop()
    except TimeoutError:
        return
