"""Starting processes, and knowing when they have ended.

Pods live in PID namespaces, and a process enters one only by being born there: the thread that
forks must have chosen it before. So one thread does nothing but fork. It also lives as long as the
manager does, which the kernel's parent-death signal counts on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster import syscalls
from lapdev.errors import ClusterError
from lapdev.net.readiness import wait_readable

PAUSE_SCRIPT = str(Path(__file__).with_name("pause.py"))
ENTER_SCRIPT = str(Path(__file__).with_name("enter.py"))
_CREDENTIALS = struct.Struct("=III")
_FD = struct.Struct("=i")


@dataclass(slots=True)
class Command:
    """A process to start."""

    argv: list[str]
    env: dict[str, str]
    fds: tuple[int, ...] = ()
    """Descriptors it inherits, under the same numbers."""
    output: int | None = None
    """Descriptor for its standard output and error; None: nowhere."""
    pid_namespace: int = -1
    """A pidfd: it is born into the PID namespace of that process."""
    whole: bool = False
    """What it has left in its process group ends with it."""


@dataclass(slots=True, eq=False)
class Child:
    """A started process, the leader of its process group."""

    pid: int
    """As the manager sees it."""
    _exited: asyncio.Future[int] = field(init=False)

    def __post_init__(self) -> None:
        self._exited = asyncio.get_running_loop().create_future()

    @classmethod
    def of(cls, process: subprocess.Popen[bytes], *, whole: bool = False) -> Child:
        """A process that this one has started, and reaps; `whole`: with its group."""
        child = cls(process.pid)

        def over() -> None:
            if whole:
                # Before it is reaped: until then no other group can have its number.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            child.ended(process.wait())

        watch_exit(os.pidfd_open(process.pid), over)
        return child

    def ended(self, status: int) -> None:
        """It has ended: told once, by whoever learns the status."""
        if not self._exited.done():
            self._exited.set_result(status)

    @property
    def running(self) -> bool:
        return not self._exited.done()

    async def wait(self) -> int:
        """The exit status; minus the signal's number when a signal ended it."""
        return await asyncio.shield(self._exited)

    def signal(self, number: int) -> None:
        """The process and those it started have been sent the signal, if they still run."""
        if self.running:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return


def watch_exit(pidfd: int, callback: Callable[[], None]) -> None:
    """`callback` runs once, when the process has ended. Takes the descriptor."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        callback()

    loop.add_reader(pidfd, ended)


@dataclass(frozen=True, slots=True)
class Message:
    """What a process of ours says. Empty when it has gone."""

    text: bytes
    pid: int
    """Of its sender, as this process sees it."""
    fds: tuple[int, ...] = ()
    """Descriptors that came with it: the receiver's to close."""


async def receive(control: socket.socket) -> Message:
    """One message. The socket does not block and has SO_PASSCRED."""
    await wait_readable(control)
    room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_FD.size)
    text, ancillary, _, _ = control.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
    pid, fds = 0, ()
    for _, kind, content in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(content)[0]
        elif kind == socket.SCM_RIGHTS:
            fds = _FD.unpack_from(content)
    return Message(text, pid, fds)


_Forking = asyncio.Future[subprocess.Popen[bytes]]


class Spawner:
    """Forks, in one thread. With isolation, everything it starts dies with the manager."""

    def __init__(self, python: str, *, isolation: bool) -> None:
        self.python = python
        self._isolation = isolation
        self._thread = _new_thread()
        self._starting = asyncio.Lock()
        self._closed = False
        self._reaper: Child | None = None
        self._reaper_pidfd = -1
        self._reaper_control: socket.socket | None = None
        self._given_up: set[_Forking] = set()
        self._ending: list[Child] = []

    async def start(self) -> None:
        if self._isolation:
            await self._start_reaper()

    async def aclose(self) -> None:
        """Every process in a PID namespace of ours has ended, and every start that was given up.

        Idempotent.
        """
        self._closed = True
        await self._end_reaper()
        if self._given_up:
            await asyncio.wait(self._given_up)
        for child in self._ending:
            await child.wait()
        self._thread.shutdown(wait=False)

    @property
    def reaper_pid(self) -> int:
        return self._reaper.pid if self._reaper else 0

    async def spawn(self, command: Command) -> Child:
        """Raises OSError when the program cannot be started."""
        loop = asyncio.get_running_loop()
        if self._isolation and command.pid_namespace < 0:
            command.pid_namespace = await self._living_reaper()
        forking = loop.run_in_executor(self._thread, _fork, command)
        try:
            return Child.of(await asyncio.shield(forking), whole=command.whole)
        except asyncio.CancelledError:
            self._give_up(forking)
            raise

    def _give_up(self, forking: _Forking) -> None:
        """Nobody will ever hear of this process again: it ends as soon as it is there."""

        def forked(_: _Forking) -> None:
            self._given_up.discard(forking)
            if not forking.cancelled() and forking.exception() is None:
                child = Child.of(forking.result())
                child.signal(signal.SIGKILL)
                self._ending = [known for known in self._ending if known.running] + [child]

        self._given_up.add(forking)
        forking.add_done_callback(forked)

    async def start_holder(self, control: socket.socket) -> None:
        """A pod's holder is being made, which talks over `control`. Needs isolation.

        Raises OSError when nobody can make one.
        """
        await self._living_reaper()
        assert self._reaper_control is not None
        socket.send_fds(self._reaper_control, [b"pod"], [control.fileno()])

    def script(self, path: str, *args: str) -> list[str]:
        """The words that run one of our scripts, with as little of Python as it takes."""
        return [self.python, "-I", "-S", path, *args]

    async def _living_reaper(self) -> int:
        """The reaper's pidfd. A killed one took every pod with it; another takes its place."""
        async with self._starting:
            if self._closed:
                raise ClusterError("the driver is not running")
            # There is none where the last attempt to make one failed, or was given up.
            if self._reaper is None or not self._reaper.running:
                await self._end_reaper()
                # The old thread forks into a dead namespace for good.
                self._thread.shutdown(wait=False)
                self._thread = _new_thread()
                await self._start_reaper()
        return self._reaper_pidfd

    async def _end_reaper(self) -> None:
        if self._reaper is not None:
            self._reaper.signal(signal.SIGKILL)
            await self._reaper.wait()
            self._reaper = None
            os.close(self._reaper_pidfd)
        if self._reaper_control is not None:
            self._reaper_control.close()
            self._reaper_control = None

    async def _start_reaper(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._reaper_control = ours
        fd = theirs.fileno()
        command = Command(self.script(PAUSE_SCRIPT, "reaper", str(fd)), {}, (fd,))
        loop = asyncio.get_running_loop()
        forking = loop.run_in_executor(self._thread, _fork_reaper, command)
        try:
            process = await asyncio.shield(forking)
        except asyncio.CancelledError:
            self._give_up(forking)
            raise
        except OSError as exc:
            raise ClusterError(f"cannot make a PID namespace for pods: {exc}") from exc
        finally:
            theirs.close()
        self._reaper = Child.of(process)
        self._reaper_pidfd = os.pidfd_open(process.pid)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="spawner")


def _fork_reaper(command: Command) -> subprocess.Popen[bytes]:
    # Forever and for this thread only: its children are born into a new PID namespace, the first
    # of them as its PID 1. The process itself stays where it is, free to start threads.
    syscalls.unshare(syscalls.NEW_PID)
    return _fork(command)


def _fork(command: Command) -> subprocess.Popen[bytes]:
    if command.pid_namespace >= 0:
        syscalls.setns(command.pid_namespace, syscalls.NEW_PID)
    return subprocess.Popen(
        command.argv,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if command.output is None else command.output,
        stderr=None if command.output is None else command.output,
        pass_fds=command.fds,
        start_new_session=True,
    )
