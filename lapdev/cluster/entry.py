"""What `enter` is given for one process of a pod: mounts, limits, a way to say it is through."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from lapdev.cluster import mounts
from lapdev.cluster.mounts import Step
from lapdev.cluster.pod_files import PRIVATE_FOLDERS
from lapdev.cluster.volumes import BindMount


@dataclass(slots=True)
class Entry:
    """Descriptors for one `enter`, open while the block lasts."""

    _given: list[tuple[str, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for fd in self.fds:
            os.close(fd)

    @property
    def fds(self) -> tuple[int, ...]:
        """To be inherited by `enter`, which passes none of them on."""
        return tuple(fd for _, fd in self._given)

    @property
    def words(self) -> str:
        return ",".join(f"{what}:{fd}" for what, fd in self._given)

    def give_groups(self, fds: Iterable[int]) -> None:
        """It joins the cgroups; takes the descriptors."""
        self._given += (("cgroup", fd) for fd in fds)

    def give_pidfd(self, pid: int) -> int:
        """A descriptor of the process, as long as the block lasts."""
        fd = os.pidfd_open(pid)
        self._given.append(("joined", fd))
        return fd

    def give_mounts(self, steps: list[Step]) -> None:
        fd = os.memfd_create("mounts")
        self._given.append(("mounts", fd))
        os.write(fd, mounts.encode(steps))
        os.lseek(fd, 0, os.SEEK_SET)

    def watch(self) -> asyncio.Event:
        """Set when the command is executed, or never will be."""
        loop = asyncio.get_running_loop()
        entered = asyncio.Event()
        read_end, write_end = os.pipe()
        self._given.append(("entered", write_end))

        def ended() -> None:
            loop.remove_reader(read_end)
            os.close(read_end)
            entered.set()

        loop.add_reader(read_end, ended)
        return entered


def mount_steps(
    wanted: Iterable[BindMount], fresh: Iterable[str], keep: Iterable[str], own: Path
) -> list[Step]:
    """The plan for a container's mounts; none: no plan.

    Its pod's `fresh` folders are empty but for what is in `keep`. What is hidden from pods stays
    hidden inside a mount that holds it; nothing is hidden in `own`, the pod's own folder.
    """
    hidden = {os.path.realpath(path) for path in fresh if path not in PRIVATE_FOLDERS}
    steps = []
    for item in wanted:
        source = os.path.realpath(item.source)
        kind = mounts.READ_ONLY if item.read_only else mounts.READ_WRITE
        given = os.path.relpath(item.source, item.within) if item.within else item.source
        steps.append(Step(kind, item.target, given, item.within))
        if Path(source).is_relative_to(own):
            continue
        prefix = f"{source.rstrip('/')}/"
        steps += (
            Step(mounts.HIDDEN, f"{item.target.rstrip('/')}/{path.removeprefix(prefix)}")
            for path in sorted(hidden)
            if path.startswith(prefix)
        )
    if not steps:
        return []
    known = [Step(mounts.OWN, path) for path in fresh]
    return [*known, *(Step(mounts.MACHINE, path) for path in keep), *steps]
