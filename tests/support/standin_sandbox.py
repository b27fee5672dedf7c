"""A sandbox whose processes are told by the test when they end, and what they print."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from lapdev.cluster.sandbox import Place, Program
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.spawner import Child
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.support.watch import Watch


class StandInChild:
    """Looks like a `Child`."""

    def __init__(self, pid: int, program: Program, signals: Callable[[str], None]) -> None:
        self.pid = pid
        self.program = program
        self.stubborn = False
        """It does not care for SIGTERM."""
        self._tell = signals
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._output = -1 if program.output is None else os.dup(program.output)

    @property
    def running(self) -> bool:
        return not self._exited.done()

    async def wait(self) -> int:
        return await asyncio.shield(self._exited)

    def signal(self, number: int) -> None:
        if self.running:
            self._tell(signal.Signals(number).name)
            if number == signal.SIGKILL or not self.stubborn:
                self.end(-number)

    def end(self, status: int) -> None:
        """It has ended with that status. Idempotent."""
        if self.running:
            self._exited.set_result(status)
            if self._output >= 0:
                os.close(self._output)

    def say(self, text: str) -> None:
        os.write(self._output, text.encode())


Behaviour = Callable[[StandInChild], None]
"""Runs as the process starts: it may print, end, or decide to be stubborn."""


@dataclass
class StandInSandbox:
    """`behave`, by the first word of the command, decides what a process does. None: it stays."""

    behave: dict[str, Behaviour] = field(default_factory=dict)
    listening: set[int] = field(default_factory=set)
    owners: dict[int, frozenset[int]] = field(default_factory=dict)
    strange: dict[str, frozenset[int]] = field(default_factory=dict)
    """Ports of what is not in the pod, by whose they are."""
    kills: dict[str, int] = field(default_factory=dict)
    """Container → processes ended for want of memory."""
    gone: bool = False
    diary: list[str] = field(default_factory=list)
    """`0 start web`, `3.5 SIGTERM web`: seconds by the loop's clock."""
    children: dict[str, list[StandInChild]] = field(default_factory=dict)
    changed: Watch = field(default_factory=Watch)
    holder_pid: int = 0

    def __post_init__(self) -> None:
        subnet = AddressPlan(ISOLATED_RANGE).take()
        self.place = Place("web-x", "shop", "127.0.0.1", subnet, "", Path("/nowhere"))
        self._ended = asyncio.Event()
        self._next_pid = 100

    async def start(self) -> None:
        return

    async def fork_sidecar(self, forks: SidecarForks, launch: int, output: int) -> Child:
        raise ClusterError("this pod's sidecars are programs")

    async def spawn(
        self, program: Program, *, sidecar: bool = False, beside: Child | None = None
    ) -> Child:
        await asyncio.sleep(0)
        if self.gone:
            raise ClusterError("pod web-x has gone")
        name = program.argv[0]
        self._next_pid += 1
        child = StandInChild(self._next_pid, program, lambda what: self.note(f"{what} {name}"))
        self.note(f"start {name}" if beside is None else f"start {name} beside {beside.pid}")
        self.children.setdefault(name, []).append(child)
        if name in self.behave:
            self.behave[name](child)
        self.changed()
        return cast(Child, child)

    def note(self, what: str) -> None:
        self.diary.append(f"{asyncio.get_running_loop().time():.4g} {what}")

    def child(self, name: str) -> StandInChild:
        """The newest process of that name."""
        return self.children[name][-1]

    def listening_ports(self) -> frozenset[int]:
        return frozenset(self.listening)

    def why_not_listening(self, port: int) -> str:
        return f"does not listen on port {port} yet"

    def strange_ports(self) -> dict[str, frozenset[int]]:
        return self.strange

    def port_owners(self) -> dict[int, frozenset[int]]:
        return self.owners

    def oom_kills(self, container: str) -> int:
        return self.kills.get(container, 0)

    async def wait_gone(self) -> None:
        await self._ended.wait()

    async def kill(self) -> None:
        self.gone = True
        for children in self.children.values():
            for child in children:
                child.end(-signal.SIGKILL)
        self._ended.set()


def ends(status: int, *lines: str) -> Behaviour:
    """The process prints the lines and ends."""

    def behave(child: StandInChild) -> None:
        for line in lines:
            child.say(line + "\n")
        child.end(status)

    return behave


def stubborn(child: StandInChild) -> None:
    child.stubborn = True
