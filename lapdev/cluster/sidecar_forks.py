"""The manager's end of the sidecars' fork server: copies are asked for, and their ends known.

The server's own talk is in `lapdev.sidecar.fork_server`. A killed server takes no sidecar of an
isolated pod with it; the next start makes another server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass, field

from lapdev.cluster.options import base_environment
from lapdev.cluster.sandbox import _receive as receive
from lapdev.cluster.spawner import ENTER_SCRIPT, Child, Command, Spawner, watch_exit
from lapdev.errors import ClusterError

UNKNOWN_STATUS = -signal.SIGKILL
"""Of a sidecar whose server did not live to tell it: then something killed both."""


@dataclass(slots=True, eq=False)
class ForkedSidecar:
    """A running sidecar that is no child of ours; stands where a `Child` does."""

    pid: int
    """As the manager sees it."""
    _own: socket.socket
    _exited: asyncio.Future[int] = field(init=False)

    def __post_init__(self) -> None:
        self._exited = asyncio.get_running_loop().create_future()

    @property
    def running(self) -> bool:
        return not self._exited.done()

    async def wait(self) -> int:
        """The exit status; minus the signal's number when a signal ended it."""
        return await asyncio.shield(self._exited)

    def signal(self, number: int) -> None:
        """It and those it started have been sent the signal, if they still run."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def watch(self, pidfd: int) -> None:
        """Takes the descriptor, whose process is this one."""
        watch_exit(pidfd, self._ended)

    def _ended(self) -> None:
        # The server tells the status when it has reaped: about now, and a little before or after.
        loop = asyncio.get_running_loop()
        loop.add_reader(self._own.fileno(), self._told)

    def _told(self) -> None:
        asyncio.get_running_loop().remove_reader(self._own.fileno())
        try:
            status = os.waitstatus_to_exitcode(int(self._own.recv(64)))
        except (OSError, ValueError):
            status = UNKNOWN_STATUS
        self._own.close()
        if not self._exited.done():
            self._exited.set_result(status)


class SidecarForks:
    """One fork server for all pods of a driver, made when the first sidecar is."""

    def __init__(self, spawner: Spawner, argv: list[str]) -> None:
        """`argv` starts a sidecar; `--fork-fd N` is appended."""
        self._spawner = spawner
        self._argv = argv
        self._server: Child | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    @property
    def server_pid(self) -> int:
        """0 while there is none."""
        return self._server.pid if self._server is not None and self._server.running else 0

    async def start(self, launch: int, output: int, holder: int = -1) -> ForkedSidecar:
        """A new sidecar. Descriptors stay the caller's; `holder` is the pod's pidfd, if isolated.

        Raises:
            ClusterError: no sidecar could be made.
        """
        async with self._starting:
            control = await self._living_server()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        fds = [theirs.fileno(), launch, output, *([holder] if holder >= 0 else [])]
        try:
            with theirs:
                socket.send_fds(control, [b"pod" if holder >= 0 else b"open"], fds)
            message, pid = await receive(ours)
            if message != b"hello":
                raise ClusterError("the sidecars' fork server made no sidecar")
            sidecar = ForkedSidecar(pid, ours)
            sidecar.watch(os.pidfd_open(pid))
        except OSError as exc:
            ours.close()
            raise ClusterError(f"cannot start a sidecar: {exc}") from exc
        except BaseException:
            ours.close()
            raise
        return sidecar

    async def aclose(self) -> None:
        """The server has ended; sidecars are their pods' to end. Idempotent."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            self._server.signal(signal.SIGKILL)
            await self._server.wait()
            self._server = None

    async def _living_server(self) -> socket.socket:
        if self._server is None or not self._server.running:
            await self.aclose()
            self._control = await self._start_server()
        assert self._control is not None
        return self._control

    async def _start_server(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = theirs.fileno()
        words = self._spawner.script(ENTER_SCRIPT, "process", "-1", "", "/")
        command = Command([*words, *self._argv, "--fork-fd", str(fd)], base_environment(), (fd,))
        try:
            self._server = await self._spawner.spawn(command)
        except OSError as exc:
            ours.close()
            raise ClusterError(f"cannot start the sidecars' fork server: {exc}") from exc
        finally:
            theirs.close()
        return ours
