"""The processes of one pod as its spec has them: their roles, what they print, what they find."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lapdev.cluster.containers import ContainerRole, Neighbourhood, SidecarRole
from lapdev.cluster.crew import Member
from lapdev.cluster.driver import PodCredentials, SidecarLaunch, SidecarPlan
from lapdev.cluster.manifests import Configs, Container
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.output import Output
from lapdev.cluster.pod_phase import Entry, entries, unchanged
from lapdev.cluster.programs import Situation, container_program, pod_facts, sidecar_launch
from lapdev.cluster.sandbox import Place, Program, Sandbox
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.supervised import Role, Supervised
from lapdev.cluster.volumes import VolumeFolders, prepare, release
from lapdev.cluster.wanted import WantedWorkload
from lapdev.errors import ClusterError

LOGS_FOLDER = "logs"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod needs from its namespace and its driver."""

    options: LocalOptions
    credentials: PodCredentials
    make_sandbox: Callable[[Place], Sandbox]
    service_environment: Callable[[], dict[str, str]]
    configs: Callable[[], Configs]
    on_change: Callable[[], None]
    forks: SidecarForks | None = None
    """Makes sidecars; None: each is started as a program."""


class PodProcesses:
    """Nothing of it runs before a sandbox is there to run it in."""

    def __init__(self, workload: WantedWorkload, place: Place, around: Surroundings) -> None:
        self.workload = workload
        self._place = place
        self._around = around
        self._outputs: dict[str, Output] = {}
        self._volumes: dict[str, str] = {}
        self._preparing: asyncio.Future[dict[str, str]] | None = None
        self.lineup = [self._member(entry) for entry in entries(workload.facts.pod)]
        """Containers in the order they start."""
        plan = workload.sidecar
        self.sidecar = self._supervise(self._sidecar_role(plan)) if plan else None

    @property
    def all(self) -> list[Supervised]:
        containers = [member.process for member in self.lineup]
        return [*([self.sidecar] if self.sidecar else []), *containers]

    def update(self, workload: WantedWorkload) -> None:
        """The lineup is that of the new spec; containers that do not differ are the same objects.

        What a changed container prints goes where it printed before.
        """
        same = unchanged(self.workload, workload)
        known = {member.process.name: member for member in self.lineup}
        self.workload = workload
        self.lineup = [
            known[entry.container.name] if entry.container.name in same else self._member(entry)
            for entry in entries(workload.facts.pod)
        ]

    def open(self) -> None:
        """What they print is taken. Idempotent. Raises OSError when no file can be made."""
        for output in self._outputs.values():
            output.open()

    async def prepare(self) -> None:
        """The pod's volumes are there, with the content that they have now.

        Raises:
            ClusterError, ConfigError: a volume cannot be made; names it.
        """
        facts, configs = self.workload.facts, self._around.configs()
        about = pod_facts(facts, self._place)
        options = self._around.options
        claims = options.volumes_dir or options.runtime_dir / "volumes"
        own, namespace = self._place.folder / "volumes", self._place.namespace
        owner = self.workload.claims_of
        folders = VolumeFolders(own, claims / namespace, options.refused_paths(), owner)
        loop = asyncio.get_running_loop()
        self._preparing = loop.run_in_executor(None, prepare, facts.pod, about, configs, folders)
        self._volumes = await asyncio.shield(self._preparing)

    async def aclose(self, *, keep_logs: bool) -> None:
        """Nothing more is taken; nothing is left on the disk, but the logs if they are kept."""
        self.revoke()
        for output in self._outputs.values():
            output.close()
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
            self._preparing.exception()  # whoever waited has it already
        await asyncio.to_thread(self._clear, keep_logs=keep_logs)

    def revoke(self) -> None:
        """The sidecar's token is worth nothing any more."""
        if self.workload.sidecar:
            identity = self.workload.sidecar.identity
            named = dataclasses.replace(identity, pod=self._place.name)
            self._around.credentials.revoke(named)

    def _clear(self, *, keep_logs: bool) -> None:
        folder = self._place.folder
        release(folder)
        if not keep_logs:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir():
            for entry in folder.iterdir():
                if entry.is_dir() and entry.name != LOGS_FOLDER:
                    shutil.rmtree(entry, ignore_errors=True)
                elif not entry.is_dir():
                    entry.unlink(missing_ok=True)

    # Roles

    def _member(self, entry: Entry) -> Member:
        around = Neighbourhood(self._program, self._held_ports)
        grace = self.workload.facts.pod.termination_grace
        role = ContainerRole(entry.container, entry.policy, grace, around)
        return Member(entry.part, self._supervise(role))

    def _supervise(self, role: Role) -> Supervised:
        file = self._place.folder / LOGS_FOLDER / f"{role.name}.log"
        output = self._outputs.setdefault(role.name, Output(file))
        return Supervised(role, output, self._around.on_change)

    def _sidecar_role(self, plan: SidecarPlan) -> SidecarRole:
        options, credentials = self._around.options, self._around.credentials

        def launch() -> SidecarLaunch:
            return sidecar_launch(plan, self._place, options, credentials.issue)

        forks = self._around.forks
        return SidecarRole(plan, options, launch, self.revoke, self._held_ports, forks)

    def _program(self, container: Container) -> Program:
        around = self._around
        services, configs = around.service_environment(), around.configs()
        here = Situation(self._place, around.options, services, configs, self._volumes)
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
            for each in self.all
            if each.pid is not None and each.name != but
        }


def _make_folder(path: Path) -> None:
    """There is something at the path; where nothing was, a folder."""
    if not path.exists():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ClusterError(f"cannot make subPath {path}: {exc.strerror}") from exc
