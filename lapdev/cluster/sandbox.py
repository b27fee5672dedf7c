"""Where the processes of one pod live: in namespaces of their own.

A sandbox starts processes and ends them all; what runs in it, and when it starts again, is the
pod's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lapdev.cluster.cgroups import Limits
from lapdev.cluster.entry import Entry, mount_steps
from lapdev.cluster.manifests import Resources
from lapdev.cluster.network import Network
from lapdev.cluster.pod_files import PodNames, write_pod_files
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.sock_diag import Listening, SockDiag
from lapdev.cluster.sockets import Listeners, holders, pid_namespace, port_owners, processes
from lapdev.cluster.spawner import (
    ENTER_SCRIPT,
    Child,
    Command,
    Spawner,
    receive,
    watch_exit,
)
from lapdev.cluster.subnets import Subnet
from lapdev.cluster.volumes import BindMount
from lapdev.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Place:
    """Who a pod is and where."""

    name: str
    namespace: str
    ip: str
    subnet: Subnet
    bridge: str
    folder: Path
    """For the pod's own files; emptied by whoever made it."""
    fresh: tuple[str, ...] = ()
    """Folders that are empty in the pod, whatever the machine has there."""
    keep: tuple[str, ...] = ()
    """Paths below those that stay visible."""
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(address, names): further lines of the pod's hosts file."""
    hostname: str = ""
    """What the pod calls itself; empty: its name."""
    subdomain: str = ""
    """The headless service the pod has a name of its own below; empty: none."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in a sandbox."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    output: int | None = None
    """Descriptor that takes standard output and error."""
    fds: tuple[int, ...] = ()
    container: str = ""
    """Whose process it is: the name its limits and its oom kills are counted under."""
    mounts: tuple[BindMount, ...] = ()
    """What it sees beyond the pod's own files; outer ones before those inside them."""
    resources: Resources = Resources()  # noqa: RUF009 - frozen


class Sandbox(Protocol):
    place: Place

    async def start(self) -> None:
        """Processes can be started. Raises ClusterError; then there is nothing to clean up."""

    async def spawn(
        self, program: Program, *, sidecar: bool = False, beside: Child | None = None
    ) -> Child:
        """A new process in the pod. Raises ClusterError when the sandbox has gone.

        `beside`: with the mounts and the limits of that running child, whatever `program` says.
        """

    async def fork_sidecar(self, forks: SidecarForks, launch: int, output: int) -> Child:
        """A sidecar that is a copy of another process. Descriptors stay the caller's.

        Raises ClusterError when the sandbox has gone.
        """

    def listening_ports(self) -> frozenset[int]:
        """TCP ports on which anything in the pod accepts connections."""

    def why_not_listening(self, port: int) -> str:
        """Of one that is not among `listening_ports`."""

    def port_owners(self) -> dict[int, frozenset[int]]:
        """TCP port listened on → session ids of its owners: process ids of what `spawn` started.

        Looks at every process of the pod: for explaining a failure, not for asking often.
        """

    def strange_ports(self) -> dict[str, frozenset[int]]:
        """TCP ports that the pod cannot have, because of what is not in it, by whose they are."""

    def oom_kills(self, container: str) -> int:
        """How often the kernel has ended a process of the container for want of memory.

        0 where the machine does not tell.
        """

    @property
    def holder_pid(self) -> int:
        """The process that keeps the pod's namespaces; 0 without isolation."""

    async def wait_gone(self) -> None:
        """The sandbox has broken down, or was killed."""

    async def kill(self) -> None:
        """No process of the pod runs any more. Idempotent."""


@dataclass(slots=True)
class _Started:
    """A container's process."""

    container: str = ""
    child: Child | None = None
    entered: asyncio.Event | None = None
    """Set when it has its mounts; None: it has no more than the pod."""

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running


class IsolatedSandbox:
    """User, PID, network, mount, UTS and IPC namespaces, held by a process that only waits."""

    def __init__(
        self, spawner: Spawner, network: Network, place: Place, limits: Limits | None = None
    ) -> None:
        self.place = place
        self._spawner = spawner
        self._network = network
        self._control: socket.socket | None = None
        self._listeners: Listeners | None = None
        self._pid = 0
        self._pidfd = -1
        self._outside: list[Child] = []
        """Processes of the pod that are not in its PID namespace."""
        self._started: list[_Started] = []
        self._groups = (limits or Limits()).pod(place.namespace, place.name)
        self._gone = asyncio.Event()

    async def start(self) -> None:
        files = write_pod_files(self.place.folder, _names(self.place))
        try:
            await self._start_holder(files)
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def spawn(
        self, program: Program, *, sidecar: bool = False, beside: Child | None = None
    ) -> Child:
        if self._pidfd < 0 or self._gone.is_set():
            raise ClusterError(f"pod {self.place.name} has gone")
        with Entry() as entry:
            joined, started = self._pidfd, _Started()
            if beside is not None:
                joined = await self._join_beside(entry, beside)
            elif not sidecar:
                started = self._prepare(entry, program)
            kind = "sidecar" if sidecar else "container"
            words = [kind, str(joined), entry.words, program.cwd, *program.argv]
            started.child = child = await start_command(
                self._spawner,
                Command(
                    self._spawner.script(ENTER_SCRIPT, *words),
                    program.env,
                    (joined, *entry.fds, *program.fds),
                    program.output,
                    # The sidecar is out of its app's sight: not in the pod's PID namespace.
                    -1 if sidecar else self._pidfd,
                    # What a hook or probe leaves running belongs to the container.
                    whole=not sidecar and beside is None,
                ),
                program.container or program.argv[0],
            )
        if sidecar:
            self._outside = [known for known in self._outside if known.running] + [child]
        elif beside is None:
            self._started = [each for each in self._started if each.running] + [started]
        return child

    async def fork_sidecar(self, forks: SidecarForks, launch: int, output: int) -> Child:
        if self._pidfd < 0 or self._gone.is_set():
            raise ClusterError(f"pod {self.place.name} has gone")
        child = await forks.start(launch, output, self._pidfd)
        self._outside = [known for known in self._outside if known.running] + [child]
        return child

    def _prepare(self, entry: Entry, program: Program) -> _Started:
        """The entry has what the container is to have."""
        started = _Started(program.container)
        entry.give_groups(self._groups.enter(program.container, program.resources))
        place = self.place
        steps = mount_steps(program.mounts, place.fresh, place.keep, place.folder)
        if steps:
            entry.give_mounts(steps)
            started.entered = entry.watch()
        return started

    async def _join_beside(self, entry: Entry, beside: Child) -> int:
        """What is to be joined for the mounts of that child, once it has them."""
        known = next((each for each in self._started if each.child is beside), _Started())
        entry.give_groups(self._groups.enter_beside(known.container))
        if known.entered is None:
            return self._pidfd
        await known.entered.wait()
        if not beside.running:
            raise ClusterError(f"container {known.container} of pod {self.place.name} has ended")
        return entry.give_pidfd(beside.pid)

    def listening_ports(self) -> frozenset[int]:
        return frozenset(each.port for each in self._listening())

    def why_not_listening(self, port: int) -> str:
        return f"does not listen on port {port} yet"

    def port_owners(self) -> dict[int, frozenset[int]]:
        namespace = pid_namespace(self._pid)
        pids = (pid for pid in processes() if namespace and pid_namespace(pid) == namespace)
        listening = self._listening()
        return port_owners(listening, holders((each.inode for each in listening), pids))

    def strange_ports(self) -> dict[str, frozenset[int]]:
        return {}

    def oom_kills(self, container: str) -> int:
        return self._groups.oom_kills(container)

    @property
    def holder_pid(self) -> int:
        return self._pid

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def kill(self) -> None:
        # With PID 1 the kernel ends every process of its PID namespace, and only then it is gone.
        if self._pidfd >= 0 and not self._gone.is_set():
            with contextlib.suppress(ProcessLookupError):  # it ended this moment
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._gone.wait()
        await kill_all(self._outside)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._listeners is not None:
            self._listeners.close()  # with the holder, this is what kept the network namespace
            self._listeners = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._groups.remove()

    def _listening(self) -> list[Listening]:
        return self._listeners.now() if self._listeners is not None else []

    async def _start_holder(self, files: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            await self._spawner.start_holder(theirs)
        except OSError as exc:
            raise ClusterError(f"cannot start pod {self.place.name}: {exc}") from exc
        finally:
            theirs.close()
        message = await receive(self._control)
        if message.text != b"hello":
            raise ClusterError(f"pod {self.place.name} could not get namespaces of its own")
        self._pid = message.pid
        self._pidfd = os.pidfd_open(self._pid)
        watch_exit(os.dup(self._pidfd), self._gone.set)
        await self._network.add_pod(self.place.bridge, self._pid)
        self._control.send(json.dumps(self._plan(files)).encode())
        message = await receive(self._control)
        diag = SockDiag(socket.socket(fileno=message.fds[0])) if message.fds else None
        self._listeners = Listeners(Path(f"/proc/{self._pid}/net"), diag)
        if message.text != b"ready":
            why = message.text.decode()
            raise ClusterError(f"cannot prepare pod {self.place.name}: {why}")

    def _plan(self, files: dict[str, str]) -> dict[str, object]:
        place = self.place
        return {
            "name": place.hostname or place.name,
            "address": place.ip,
            "netmask": str(place.subnet.network.netmask),
            "gateway": place.subnet.gateway,
            "files": files,
            "placeholders": str(place.folder / "placeholders"),
            "fresh": place.fresh,
            "keep": place.keep,
        }


async def start_command(spawner: Spawner, command: Command, name: str) -> Child:
    """Raises ClusterError when it cannot be started; says `name`, as arguments may be secrets."""
    try:
        return await spawner.spawn(command)
    except OSError as exc:
        raise ClusterError(f"cannot start {name}: {exc.strerror}") from exc


async def kill_all(children: list[Child]) -> None:
    """They have ended, by force."""
    for child in children:
        child.signal(signal.SIGKILL)
    for child in children:
        await child.wait()


def _names(place: Place) -> PodNames:
    return PodNames(
        hostname=place.hostname or place.name,
        ip=place.ip,
        namespace=place.namespace,
        gateway=place.subnet.gateway,
        subdomain=place.subdomain,
        host_aliases=place.host_aliases,
    )
