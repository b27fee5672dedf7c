"""One process of a pod, started again whenever it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lapdev.cluster.output import Output
from lapdev.cluster.readiness import Check, watch
from lapdev.cluster.sandbox import Sandbox
from lapdev.cluster.spawner import Child
from lapdev.net.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between restarts. Seconds."""

    first: float
    again: float
    """The second pause; doubled from there."""
    longest: float
    healthy: float
    """A run of this length starts the pauses over."""

    def pause(self, short_runs: int) -> float:
        """The pause after the given number of runs in a row that did not last (1 or more)."""
        if short_runs <= 1:
            return self.first
        return min(self.again * 2.0 ** (short_runs - 2), self.longest)


CONTAINER_BACKOFF = Backoff(first=0.1, again=0.2, longest=10.0, healthy=10.0)
# Requests wait for the sidecar: nothing is gained by waiting before its first restart.
SIDECAR_BACKOFF = Backoff(first=0.0, again=0.05, longest=2.0, healthy=1.0)


@dataclass(slots=True)
class Role:
    """What makes a process a container or a sidecar."""

    name: str
    start: Callable[[Sandbox], Awaitable[Child]]
    check: Callable[[Sandbox], Check]
    backoff: Backoff
    ended: Callable[[], None]
    """Runs each time the process has ended."""


class Supervised:
    """Keeps one process running until told to stop."""

    def __init__(self, role: Role, output: Output, on_change: Callable[[], None]) -> None:
        self.name = role.name
        self.output = output
        self.ready = False
        self.restarts = 0
        self.problem = ""
        """Why it is not ready, as far as known."""
        self._role = role
        self._on_change = on_change
        self._child: Child | None = None
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    async def run(self, sandbox: Sandbox) -> None:
        """Returns after `stop`. Raises ClusterError when the sandbox does not start it."""
        short_runs = 0
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            started = loop.time()
            status = await self._run_once(sandbox)
            if self._stop.is_set():
                return
            healthy = loop.time() - started >= self._role.backoff.healthy
            short_runs = 1 if healthy else short_runs + 1
            self._note_end(status)
            await self._pause(self._role.backoff.pause(short_runs))

    def stop(self) -> None:
        """It is asked to end (SIGTERM, with all it started) and is not started again."""
        self._stop.set()
        if self._child is not None:
            self._child.signal(signal.SIGTERM)

    async def wait_ended(self) -> None:
        if self._child is not None:
            await self._child.wait()

    async def _run_once(self, sandbox: Sandbox) -> int:
        self._child = child = await self._role.start(sandbox)
        try:
            if self._stop.is_set():
                child.signal(signal.SIGTERM)
            async with Tasks() as tasks:
                tasks.spawn(watch(self._role.check(sandbox), self._set_ready), f"ready:{self.name}")
                return await child.wait()
        finally:
            self._role.ended()
            self._set_ready(False)

    def _set_ready(self, ready: bool) -> None:
        if ready:
            self.problem = ""
        if ready != self.ready:
            self.ready = ready
            self._on_change()

    def _note_end(self, status: int) -> None:
        how = f"ended with status {status}"
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        said = next((line for line in reversed(self.output.tail) if line.strip()), "")
        self.problem = f"{self.name} {how}" + (f": {said[:300]}" if said else "")
        self.output.note(how)
        self.restarts += 1
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
