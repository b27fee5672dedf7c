"""What makes a process one of a pod's containers, or its sidecar: how it is started, looked after,
asked to end, and what its failure means."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from lapdev.cluster.driver import SidecarLaunch, SidecarPlan
from lapdev.cluster.exits import binary_size
from lapdev.cluster.handlers import Surface, perform
from lapdev.cluster.manifests import Container, Handler, Probe, RestartPolicy
from lapdev.cluster.options import LocalOptions, base_environment
from lapdev.cluster.port_clash import clash_lines, explain_clash, explain_refusal
from lapdev.cluster.probes import Ask, wait_started, wait_yes, watch_alive, watch_ready
from lapdev.cluster.programs import sealed_document
from lapdev.cluster.sandbox import Program, Sandbox
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.spawner import Child
from lapdev.cluster.supervised import CONTAINER_BACKOFF, SIDECAR_BACKOFF, Run
from lapdev.net.tasks import Tasks

SIDECAR_NAME = "lapdev-sidecar"
SIDECAR_STOP_TIMEOUT = 2.0
STEADY_TIME = 0.5
"""A container with neither probe nor ports is ready when it has run this long. Seconds."""
SAY_AFTER = 10.0
"""What is not ready after this long says what it waits for. Seconds."""

HeldPorts = Callable[[Sandbox, str], Mapping[str, frozenset[int]]]
"""The ports that the pod's processes listen on, by name, except those of the one named."""


@dataclass(slots=True)
class Neighbourhood:
    """What a container's role asks its pod."""

    program: Callable[[Container], Program]
    held_ports: HeldPorts


class ContainerRole:
    """A container, as its manifest has it."""

    def __init__(
        self, container: Container, policy: RestartPolicy, grace: float, around: Neighbourhood
    ) -> None:
        self.name = container.name
        self.backoff = CONTAINER_BACKOFF
        self.policy = policy
        self.grace = grace
        self._container = container
        self._around = around
        self._program = Program([], {}, "/")
        self._oom_kills = 0

    async def start(self, sandbox: Sandbox, output: int) -> Child:
        self._program = self._around.program(self._container)
        before = sandbox.oom_kills(self.name)
        child = await sandbox.spawn(dataclasses.replace(self._program, output=output))
        # Counted anew where each run has a group of its own, else on.
        self._oom_kills = min(before, sandbox.oom_kills(self.name))
        return child

    async def look_after(self, run: Run) -> None:
        container = self._container
        if container.post_start and (why := await self._first_hook(container.post_start, run)):
            await run.condemn(f"postStart hook failed: {why}")
            return
        if container.startup:
            say = _teller(run, "startup probe")
            why = await wait_started(container.startup, self._ask(container.startup, run), say)
            if why:
                await run.condemn(f"startup probe failed: {why}")
                return
        run.note_started()
        async with Tasks() as tasks:
            if container.liveness:
                probe = _from_start(container.liveness, run)
                tasks.spawn(self._keep_alive(probe, run), f"alive:{self.name}")
            await self._watch_ready(run)

    async def before_stop(self, run: Run) -> None:
        if self._container.pre_stop:
            why = await perform(self._container.pre_stop, self._surface(run), None)
            if why and run.child.running:
                run.note(f"preStop hook failed: {why}")

    def explain(self, sandbox: Sandbox, lines: list[str]) -> str:
        if sandbox.oom_kills(self.name) > self._oom_kills:
            limit = self._container.resources.memory_limit
            return "out of memory" + (f" (limit {binary_size(limit)})" if limit else "")
        declared = self._container.tcp_ports()
        if clash_lines(lines):
            held = self._around.held_ports(sandbox, self.name)
            return explain_clash(lines, held, declared, sandbox.strange_ports())
        return "" if sandbox.holder_pid else explain_refusal(lines, declared)

    def ended(self) -> None:
        return

    async def _first_hook(self, hook: Handler, run: Run) -> str:
        loop = asyncio.get_running_loop()
        say = loop.call_later(SAY_AFTER, run.note_waiting, "its postStart hook still runs")
        try:
            return await perform(hook, self._surface(run), None)
        finally:
            say.cancel()

    async def _watch_ready(self, run: Run) -> None:
        """By its probe; without one it is ready when its declared ports listen.

        That is stricter than Kubernetes, where it is ready as soon as it runs.
        """
        probe = self._container.readiness
        if probe is not None:
            report = _reporter(run)
            await watch_ready(_from_start(probe, run), self._ask(probe, run), report)
        elif ports := self._container.tcp_ports():
            await wait_ports(run, ports)
        else:
            await asyncio.sleep(STEADY_TIME)
            run.note_ready(True)
        await asyncio.Event().wait()  # until the run is over

    async def _keep_alive(self, probe: Probe, run: Run) -> None:
        why = await watch_alive(probe, self._ask(probe, run))
        await run.condemn(f"liveness probe failed: {why}")

    def _ask(self, probe: Probe, run: Run) -> Ask:
        surface = self._surface(run)
        return lambda: perform(probe.handler, surface, probe.timeout)

    def _surface(self, run: Run) -> Surface:
        def execute(command: tuple[str, ...], output: int) -> Awaitable[Child]:
            program = dataclasses.replace(self._program, argv=[*command], output=output)
            return run.sandbox.spawn(program, beside=run.child)

        return Surface(run.sandbox.place.ip, execute)


class SidecarRole:
    """lapdev's own sidecar."""

    name = SIDECAR_NAME
    backoff = SIDECAR_BACKOFF
    policy = RestartPolicy.ALWAYS
    grace = SIDECAR_STOP_TIMEOUT

    def __init__(
        self,
        plan: SidecarPlan,
        options: LocalOptions,
        launch: Callable[[], SidecarLaunch],
        revoke: Callable[[], None],
        held_ports: HeldPorts,
        forks: SidecarForks | None = None,
    ) -> None:
        """Without `forks` every sidecar is a program of its own."""
        self._plan = plan
        self._forks = forks
        self._options = options
        self._launch = launch
        self._held_ports = held_ports
        self._revoke = revoke

    async def start(self, sandbox: Sandbox, output: int) -> Child:
        fd = sealed_document(self._launch())
        try:
            if self._forks is not None:
                return await sandbox.fork_sidecar(self._forks, fd, output)
            argv = [*self._options.sidecar_argv(), "--launch-fd", str(fd)]
            program = Program(argv, base_environment(), "/", output, (fd,))
            return await sandbox.spawn(program, sidecar=True)
        finally:
            os.close(fd)

    async def look_after(self, run: Run) -> None:
        run.note_started()
        await wait_ports(run, (port.proxy_port for port in self._plan.ports))

    async def before_stop(self, run: Run) -> None:
        return

    def explain(self, sandbox: Sandbox, lines: list[str]) -> str:
        if not clash_lines(lines):
            return ""
        ports = [port.proxy_port for port in self._plan.ports]
        held = self._held_ports(sandbox, self.name)
        return explain_clash(lines, held, ports, sandbox.strange_ports())

    def ended(self) -> None:
        self._revoke()


async def wait_ports(run: Run, ports: Iterable[int]) -> None:
    """It is ready: it listens on all of these."""
    wanted = frozenset(ports)

    async def ask() -> str:
        missing = wanted - run.sandbox.listening_ports()
        return run.sandbox.why_not_listening(min(missing)) if missing else ""

    try:
        async with asyncio.timeout(SAY_AFTER):
            await wait_yes(ask)
    except TimeoutError:
        run.note_waiting(await ask())
        await wait_yes(ask)
    run.note_ready(True)


def _teller(run: Run, what: str) -> Callable[[str], None]:
    """Says why it is not ready, once it has had some time."""

    def say(why: str) -> None:
        if asyncio.get_running_loop().time() - run.began >= SAY_AFTER:
            run.note_waiting(f"{what}: {why}")

    return say


def _reporter(run: Run) -> Callable[[bool, str], None]:
    """Passes on what a readiness probe finds."""
    say = _teller(run, "readiness probe")

    def report(ready: bool, why: str) -> None:
        run.note_ready(ready)
        if why:
            say(why)

    return report


def _from_start(probe: Probe, run: Run) -> Probe:
    """With what is left of the initial delay, which counts from the start of the run."""
    passed = asyncio.get_running_loop().time() - run.began
    return dataclasses.replace(probe, initial_delay=max(0.0, probe.initial_delay - passed))
