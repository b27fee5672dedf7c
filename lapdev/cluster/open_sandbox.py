"""A pod without isolation: ordinary processes, and a loopback address of their own."""

from __future__ import annotations

import asyncio

from lapdev.cluster.cgroups import Limits
from lapdev.cluster.entry import Entry
from lapdev.cluster.machine_ports import EVERYWHERE, MachinePorts, Owner
from lapdev.cluster.sandbox import Place, Program, kill_all, start_command
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.sock_diag import Listening
from lapdev.cluster.sockets import port_owners
from lapdev.cluster.spawner import ENTER_SCRIPT, Child, Command, Spawner

SIDECAR = "lapdev's own sidecar"
REMEDY = "without isolation an app has to listen on $POD_IP or 0.0.0.0"


class OpenSandbox:
    """Meets `sandbox.Sandbox`. Its ports are the machine's: no two pods can have one everywhere."""

    def __init__(
        self, spawner: Spawner, place: Place, ports: MachinePorts, limits: Limits | None = None
    ) -> None:
        self.place = place
        self._spawner = spawner
        self._ports = ports
        self._children: list[Child] = []
        self._groups = (limits or Limits()).pod(place.namespace, place.name)
        self._gone = asyncio.Event()

    async def start(self) -> None:
        return

    async def spawn(
        self, program: Program, *, sidecar: bool = False, beside: Child | None = None
    ) -> Child:
        with Entry() as entry:
            if not sidecar:
                entry.give_groups(self._groups.enter(program.container, program.resources))
            words = ["process", "-1", entry.words, program.cwd, *program.argv]
            argv = self._spawner.script(ENTER_SCRIPT, *words)
            fds, whole = (*entry.fds, *program.fds), not sidecar and beside is None
            command = Command(argv, program.env, fds, program.output, whole=whole)
            name = program.container or program.argv[0]
            child = await start_command(self._spawner, command, name)
        self._add(child, SIDECAR if sidecar else f"container {program.container}")
        return child

    async def fork_sidecar(self, forks: SidecarForks, launch: int, output: int) -> Child:
        child = await forks.start(launch, output)
        self._add(child, SIDECAR)
        return child

    def listening_ports(self) -> frozenset[int]:
        """Those of the pod's address, and those that its own processes have everywhere."""
        listening = self._ports.listening()
        found = {each.port for each in listening if each.address == self.place.ip}
        # Who holds them is asked only where it makes a difference.
        others = [
            each for each in listening if each.address in EVERYWHERE and each.port not in found
        ]
        return frozenset(found | {each.port for each in others if self._is_own(each)})

    def why_not_listening(self, port: int) -> str:
        others = [each for each in self._ports.listening() if each.port == port]
        narrow = next((each for each in others if self._is_own(each)), None)
        if narrow is not None:
            return f"listens on {narrow.address}:{port} only: {REMEDY}"
        taken = next((each for each in others if each.address in EVERYWHERE), None)
        why = f", which {self._ports.whose(taken.inode)} has: {REMEDY}" if taken else ""
        return f"does not listen on port {port} yet{why}"

    def port_owners(self) -> dict[int, frozenset[int]]:
        own = [each for each in self._ports.listening() if self._is_own(each)]
        return port_owners(own, {each.inode: self._own_holders(each) for each in own})

    def strange_ports(self) -> dict[str, frozenset[int]]:
        found: dict[str, set[int]] = {}
        for each in self._ports.listening():
            if not self._is_own(each):
                found.setdefault(self._ports.whose(each.inode), set()).add(each.port)
        return {name: frozenset(ports) for name, ports in found.items()}

    def oom_kills(self, container: str) -> int:
        return self._groups.oom_kills(container)

    @property
    def holder_pid(self) -> int:
        return 0

    async def wait_gone(self) -> None:
        await self._gone.wait()

    async def kill(self) -> None:
        await kill_all(self._children)
        self._ports.leave(child.pid for child in self._children)
        self._groups.remove()
        self._gone.set()

    def _add(self, child: Child, process: str) -> None:
        self._ports.leave(known.pid for known in self._children if not known.running)
        self._children = [known for known in self._children if known.running] + [child]
        self._ports.enter(child.pid, Owner(self.place.name, process))

    def _is_own(self, listening: Listening) -> bool:
        return bool(self._own_holders(listening))

    def _own_holders(self, listening: Listening) -> frozenset[int]:
        return self._ports.holders(listening.inode) & {child.pid for child in self._children}
