"""The manager's end of the sidecars' fork server: copies are asked for, and their ends known.

The server's own talk is in `lapdev.sidecar.fork_server`. A killed server takes its sidecars with
it; the next start makes another server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from lapdev.cluster.options import base_environment
from lapdev.cluster.spawner import ENTER_SCRIPT, Child, Command, Spawner, receive, watch_exit
from lapdev.errors import ClusterError

STATUS_TIMEOUT = 2.0
"""A fork server that does not tell how a sidecar ended is not waited for any longer. Seconds."""
UNKNOWN_STATUS = -signal.SIGKILL
"""Of a sidecar whose server did not live to tell it: then something killed both."""


def _watch(pid: int, own: socket.socket) -> Child:
    """The sidecar that has said hello on `own`, which is closed when its end is known."""
    child = Child(pid)
    loop = asyncio.get_running_loop()

    def told() -> None:
        if not child.running:
            return  # by the clock, or before it
        loop.remove_reader(own.fileno())
        try:
            status = os.waitstatus_to_exitcode(int(own.recv(64)))
        except (OSError, ValueError):  # nothing told yet is an OSError, too
            status = UNKNOWN_STATUS
        own.close()
        child.ended(status)

    def ended() -> None:
        # The server tells the status when it has reaped: at once, unless somebody stopped it.
        loop.add_reader(own.fileno(), told)
        loop.call_later(STATUS_TIMEOUT, told)

    try:
        watch_exit(os.pidfd_open(pid), ended)
    except ProcessLookupError:
        ended()  # and was reaped, before it was looked at
    return child


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

    async def start(self, launch: int, output: int, holder: int = -1) -> Child:
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
            message = await receive(ours)
            if message.text != b"hello":
                raise ClusterError("the sidecars' fork server made no sidecar")
            return _watch(message.pid, ours)
        except OSError as exc:
            ours.close()
            raise ClusterError(f"cannot start a sidecar: {exc}") from exc
        except BaseException:
            ours.close()
            raise

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
        ours.setblocking(False)
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
