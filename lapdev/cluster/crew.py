"""The containers of one pod in one sandbox: started in order, changed in place, ended in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from lapdev.cluster.containers import SAY_AFTER
from lapdev.cluster.pod_phase import Part
from lapdev.cluster.sandbox import Sandbox
from lapdev.cluster.supervised import Supervised
from lapdev.errors import ClusterError, ConfigError
from lapdev.net.tasks import Tasks


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    part: Part
    process: Supervised


class Crew:
    """Works towards the last lineup it was given."""

    def __init__(
        self,
        sandbox: Sandbox,
        lineup: Sequence[Member],
        prepare: Callable[[], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.complete = False
        """What has to end before the others has, and all others have been started."""
        self.was_complete = False
        """It has been, in this sandbox."""
        self.waits_for = ""
        """What keeps it from being complete, when that takes long."""
        self._sandbox = sandbox
        self._lineup = lineup
        self._prepare = prepare
        self._on_change = on_change
        self._tasks = Tasks()
        self._kept: dict[Member, asyncio.Task[None]] = {}
        """Those started in this sandbox, ended ones too."""
        self._changed = asyncio.Event()
        self._lost: ClusterError | ConfigError | None = None
        """Why nothing can go on in this sandbox."""

    async def run(self) -> bool:
        """No container will run again: whether each ended well.

        Raises:
            ClusterError: the sandbox does not start processes, or a volume cannot be made.
            ConfigError: a volume refers to something that is not there.
        """
        while True:
            self._changed.clear()
            async with Tasks() as tasks:
                work = tasks.spawn(self._work(), "containers")
                change = tasks.spawn(self._changed.wait(), "change")
                await asyncio.wait([work, change], return_when=asyncio.FIRST_COMPLETED)
                if self._lost is not None:
                    raise self._lost
                if not self._changed.is_set():
                    return work.result()

    def update(self, lineup: Sequence[Member]) -> None:
        """Members that are not in it end; those that are new are started in their turn."""
        self._lineup = lineup
        self.complete = False
        self._changed.set()

    async def wind_down(self) -> None:
        """Every container has ended in its own time: sidecars last, and in reverse order."""
        members = [*self._kept]
        await _each(member.process.stop() for member in members if member.part is not Part.SIDECAR)
        for member in reversed(members):
            if member.part is Part.SIDECAR:
                await member.process.stop()

    async def cut_short(self, window: float) -> None:
        """Every container has ended: the grace is over. Sidecars have had `window` seconds."""
        members = [*self._kept]
        await _each(m.process.stop(0) for m in members if m.part is not Part.SIDECAR)
        await _each(m.process.stop(window) for m in members if m.part is Part.SIDECAR)

    async def aclose(self) -> None:
        """Nobody looks after the containers any more; they end with the sandbox."""
        await self._tasks.aclose()

    # Becoming what is wanted

    async def _work(self) -> bool:
        try:
            return await self._converge()
        except (ClusterError, ConfigError) as exc:
            self._lost = exc
        except OSError as exc:
            self._lost = ClusterError(f"cannot keep the pod's files: {exc.strerror or exc}")
        return False

    async def _converge(self) -> bool:
        await self._retire()
        await self._prepare()
        for member in self._lineup:
            if member.part is Part.INIT:
                await self._patiently(asyncio.wait([self._keep(member)]), member)
                if not _ended_well(member):
                    return False
            elif member.part is Part.SIDECAR:
                self._keep(member)
                await self._patiently(member.process.started.wait(), member)
        mains = [member for member in self._lineup if member.part is Part.MAIN]
        # One that did its work in an earlier sandbox does not do it again.
        keeping = [self._keep(member) for member in mains if not _ended_well(member)]
        self.complete = self.was_complete = True
        self._on_change()
        if keeping:
            await asyncio.wait(keeping)
        return all(_ended_well(member) for member in mains)

    async def _retire(self) -> None:
        """Processes that are no longer wanted have ended."""
        old = [member for member in self._kept if member not in self._lineup]
        await _each(
            member.process.stop(member.process.role.grace)
            for member in old
            if member.part is not Part.SIDECAR
        )
        for member in reversed(old):
            await member.process.stop(member.process.role.grace)
            await asyncio.wait([self._kept[member]])
            del self._kept[member]

    def _keep(self, member: Member) -> asyncio.Task[None]:
        """The task that keeps it running, whether or not that has begun before."""
        if member not in self._kept:
            keeping = self._run(member.process)
            self._kept[member] = self._tasks.spawn(keeping, f"keep:{member.process.name}")
        return self._kept[member]

    async def _run(self, process: Supervised) -> None:
        try:
            await process.run(self._sandbox)
        except ClusterError as exc:
            self._lost = exc
            self._changed.set()

    async def _patiently(self, wait: Awaitable[object], member: Member) -> None:
        """`wait` is over; when it takes long, people are told what is waited for."""
        name = member.process.name
        loop = asyncio.get_running_loop()
        say = loop.call_later(SAY_AFTER, self._say, f"waits for {name}, which comes before others")
        try:
            await wait
        finally:
            say.cancel()
            self.waits_for = ""

    def _say(self, text: str) -> None:
        self.waits_for = text
        self._on_change()


def _ended_well(member: Member) -> bool:
    return member.process.final is not None and member.process.final.ok


async def _each(stops: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*stops)
