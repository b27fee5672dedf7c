"""One process of a pod through all its runs: started again as its policy says."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lapdev.cluster.exits import Exit, explained, last_words, ordinal
from lapdev.cluster.manifests import RestartPolicy
from lapdev.cluster.output import Output
from lapdev.cluster.sandbox import Sandbox
from lapdev.cluster.spawner import Child
from lapdev.errors import ConfigError
from lapdev.model import ContainerState
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
        return min(self.again * 2.0 ** min(short_runs - 2, 60), self.longest)


CONTAINER_BACKOFF = Backoff(first=0.1, again=0.2, longest=10.0, healthy=10.0)
# Requests wait for the sidecar: nothing is gained by waiting before its first restart.
SIDECAR_BACKOFF = Backoff(first=0.0, again=0.05, longest=2.0, healthy=1.0)


class Role(Protocol):
    """What makes a process a container or a sidecar."""

    name: str
    backoff: Backoff
    policy: RestartPolicy
    grace: float
    """Seconds it has to end when it is asked to, pod and all staying."""

    async def start(self, sandbox: Sandbox, output: int) -> Child:
        """Raises ClusterError when the sandbox has gone, ConfigError when the spec is wrong."""

    async def look_after(self, run: Run) -> None:
        """Tells the run when it has started, and when it is ready or no good any more."""

    async def before_stop(self, run: Run) -> None:
        """Runs before it is asked to end; as long as the grace lasts."""

    def explain(self, sandbox: Sandbox, lines: list[str]) -> str:
        """Why the run that printed these lines failed, where that can be known; else empty."""

    def ended(self) -> None:
        """A run is over."""


class Run:
    """One run of a process, as whoever looks after it sees it."""

    def __init__(self, process: Supervised, sandbox: Sandbox, child: Child) -> None:
        self.sandbox = sandbox
        self.child = child
        self.began = asyncio.get_running_loop().time()
        self.condemned = ""
        """Why it is being ended, though nobody asked for that."""
        self.care: asyncio.Task[None] | None = None
        """Looks after it."""
        self._process = process
        self._asked = False

    def note_started(self) -> None:
        """What waits for it may go on."""
        self._process.started.set()

    def note_ready(self, ready: bool, why: str = "") -> None:
        if not self._asked:
            self._process.set_ready(ready, why)

    def note_waiting(self, why: str) -> None:
        self._process.set_waiting(why)

    def note(self, text: str) -> None:
        """A line of ours among those it prints."""
        self._process.output.note(text)

    async def condemn(self, why: str) -> None:
        """It has ended, by force if it took longer than its grace."""
        if self._asked:  # what is ending anyway may fail its probes
            await self.child.wait()
            return
        self.condemned = why
        self.note(why)
        await self.end(self._process.role.grace)

    async def end(self, grace: float) -> None:
        """It was asked to end, and killed when that took longer."""
        try:
            async with asyncio.timeout(grace):
                await self.ask_to_end()
        except TimeoutError:
            self.child.signal(signal.SIGKILL)
            await self.child.wait()

    async def ask_to_end(self) -> None:
        """It has ended in its own time. Cancelled, it may still run."""
        if not self._asked and self.child.running:
            self._process.set_ready(False)
            self._asked = True
            if self.care is not None and not self.condemned:
                self.care.cancel()  # nobody asks any more how it is
            await self._process.role.before_stop(self)
            self.child.signal(signal.SIGTERM)
        await self.child.wait()


class Supervised:
    """Keeps one process running, until it is told to stop or has ended for good."""

    def __init__(self, role: Role, output: Output, on_change: Callable[[], None]) -> None:
        self.name = role.name
        self.role = role
        self.output = output
        self.ready = False
        self.started = asyncio.Event()
        """It runs, and its startup probe has been answered."""
        self.restarts = 0
        self.last_exit = ""
        """How it last ended: `exit code 1: no such table`; empty: it has not yet."""
        self.ended_at = 0.0
        """When that was, by the loop's clock."""
        self.final: Exit | None = None
        """How it ended for good: it is not started again in this sandbox."""
        self._problem = ""
        self._on_change = on_change
        self._run: Run | None = None
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._run.child.pid if self._run and self._run.child.running else None

    @property
    def state(self) -> ContainerState:
        if self.final is not None:
            return ContainerState.DONE if self.final.ok else ContainerState.FAILED
        if self._run is not None:
            return ContainerState.READY if self.ready else ContainerState.RUNNING
        return ContainerState.RESTARTING if self.restarts else ContainerState.WAITING

    @property
    def problem(self) -> str:
        """Why it is not as it should be, as far as known."""
        return f"{self.name}: {self._problem}" if self._problem else ""

    async def run(self, sandbox: Sandbox) -> None:
        """Returns when it has stopped, or ended for good: then `final` says how.

        Raises:
            ClusterError: the sandbox does not start it.
        """
        self.final = None
        short_runs = 0
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            began = loop.time()
            policy = self.role.policy
            try:
                ended = await self._run_once(sandbox)
            except ConfigError as exc:
                # It has not run: it is tried until it can, whatever its policy.
                ended, policy = Exit(1, explained(exc)), RestartPolicy.ALWAYS
            if self._stop.is_set():
                return
            lasted = loop.time() - began >= self.role.backoff.healthy
            short_runs = 1 if lasted else short_runs + 1
            if not _starts_again(policy, ended):
                self._note_final(ended)
                return
            pause = self.role.backoff.pause(short_runs)
            self._note_restart(ended, pause)
            await self._pause(pause)

    async def stop(self, grace: float | None = None) -> None:
        """It has ended and is not started again; after `grace` seconds by force.

        Without grace it has all the time it wants: cancelled, it may still run.
        """
        self._stop.set()
        if self._run is not None:
            await (self._run.ask_to_end() if grace is None else self._run.end(grace))

    async def _run_once(self, sandbox: Sandbox) -> Exit:
        mark = self.output.taken
        with self.output.writer() as fd:
            child = await self.role.start(sandbox, fd)
        self._run = run = Run(self, sandbox, child)
        try:
            async with Tasks() as tasks:
                if self._stop.is_set():
                    child.signal(signal.SIGTERM)
                else:
                    run.care = tasks.spawn(self.role.look_after(run), f"care:{self.name}")
                status = await child.wait()
        finally:
            self._run = None
            self.started.clear()
            self.role.ended()
            self.set_ready(False)
        self.output.settle()
        lines = self.output.since(mark)
        cause = run.condemned
        if status and not cause and not self._stop.is_set():
            cause = self.role.explain(sandbox, lines)
        return Exit(status, cause, last_words(lines))

    # What is to be seen of it

    def set_ready(self, ready: bool, why: str = "") -> None:
        changed = ready != self.ready
        self.ready = ready
        if ready:
            self._problem = ""
        elif why:
            changed = self._say(why) or changed
        if changed:
            self._on_change()

    def set_waiting(self, why: str) -> None:
        """It is not ready for this reason."""
        if self._say(why):
            self._on_change()

    def _say(self, problem: str) -> bool:
        changed = problem != self._problem
        self._problem = problem
        return changed

    def _note_end(self, ended: Exit) -> None:
        self.last_exit = str(ended)
        self.ended_at = asyncio.get_running_loop().time()

    def _note_final(self, ended: Exit) -> None:
        self._note_end(ended)
        self.final = ended
        self._problem = "" if ended.ok else f"{ended} (not restarted)"
        self._on_change()

    def _note_restart(self, ended: Exit, pause: float) -> None:
        self._note_end(ended)
        self.output.note(str(Exit(ended.status, ended.cause)))
        self.restarts += 1
        soon = f" in {pause:.0f} s" if pause >= 1.5 else ""
        self._problem = f"restarting{soon}, {ordinal(self.restarts)} time: {ended}"
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            # It is on its way: that it will be restarted is no longer the news.
            count = ordinal(self.restarts)
            self._problem = f"restarted for the {count} time: {self.last_exit}"


def _starts_again(policy: RestartPolicy, ended: Exit) -> bool:
    match policy:
        case RestartPolicy.ALWAYS:
            return True
        case RestartPolicy.ON_FAILURE:
            return not ended.ok
        case RestartPolicy.NEVER:
            return False
