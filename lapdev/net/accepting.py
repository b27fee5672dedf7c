"""Accepting within the process's limit of open files.

A process that has no descriptor left can neither accept nor dial. Past a small reserve, which is
left to what was accepted before, a listener pauses: whoever connects waits in the socket's backlog
and is served when descriptors are free again, instead of being accepted and dropped.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from lapdev.log import get_logger
from lapdev.net.tasks import spawn

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Serving(Protocol):
    """A server on a listening socket."""

    def close(self) -> None:
        """Nothing is accepted any more; the socket is closed."""


Start = Callable[[ProtocolFactory, socket.socket], Awaitable[Serving]]

PAUSE = 0.1
"""Seconds until it is looked again."""
LOG_INTERVAL = 1.0
MOST_RESERVED = 64
"""Descriptors; an eighth of the limit if that is less."""
RESUME_AT = 1.5
"""Times the reserve: accepting begins again a little later than it ends."""


class Accepting:
    """A listening socket and the server of the hour on it. Owns the socket."""

    def __init__(self, sock: socket.socket, factory: ProtocolFactory, start: Start) -> None:
        """`start` serves a descriptor of its own, which is closed with its server."""
        self.sock = sock
        self._factory = factory
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._server: Serving | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._logged = -LOG_INTERVAL

    @property
    def accepting(self) -> bool:
        """Also while it is paused."""
        return not self._closed

    @property
    def paused(self) -> bool:
        return self._retry is not None

    async def start(self) -> None:
        """Connections are accepted from now on."""
        # Servers come and go with each pause, and each closes what it was given.
        own = self.sock.dup()
        try:
            self._server = await self._start(self._accepted, own)
        except OSError:
            own.close()
            raise
        if self._closed:
            self._server.close()

    def close(self) -> None:
        """Nothing is accepted any more. Idempotent."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._server is not None:
            self._server.close()
        self.sock.close()

    def _accepted(self) -> asyncio.BaseProtocol:
        if self._retry is None and not enough_descriptors():
            # The connection in hand is still served; the server cannot be closed beneath it.
            self._retry = self._loop.call_later(PAUSE, self._look_again)
            self._loop.call_soon(self._pause)
        return self._factory()

    def _pause(self) -> None:
        if self._closed:
            return
        if self._server is not None:
            self._server.close()
            self._server = None
        now = self._loop.time()
        if now - self._logged >= LOG_INTERVAL:
            self._logged = now
            get_logger().warning(
                "accept_paused",
                address=str(self.sock.getsockname()),
                error=f"{_limit()} files may be open, and nearly all are",
                hint="raise the limit of open files (ulimit -n, LimitNOFILE)",
            )

    def _look_again(self) -> None:
        if _some_came_free():
            self._retry = None
            spawn(self._start_again(), "accept again")
        else:
            self._retry = self._loop.call_later(PAUSE, self._look_again)

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OSError:  # all descriptors were taken in between, or we are closed
            if not self._closed:
                self._retry = self._loop.call_later(PAUSE, self._look_again)


def enough_descriptors() -> bool:
    """The reserve is whole: the kernel gives the lowest free number, so all below it are taken."""
    try:
        lowest = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(lowest)
    return lowest < _limit() - _reserve()


def _some_came_free() -> bool:
    # Counted, which takes longer: one low number free says nothing of how many there are.
    try:
        taken = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return False
    return taken < _limit() - RESUME_AT * _reserve()


def _reserve() -> int:
    return min(MOST_RESERVED, _limit() // 8)


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
