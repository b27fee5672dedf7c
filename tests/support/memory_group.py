"""A memory control group of version 1, for a process that is to live within so many bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    folder: Path

    def enter(self) -> None:
        """This process is in it from now on."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def command(self, words: Sequence[str]) -> list[str]:
        """The words, to be run in the group from their beginning."""
        script = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", script, str(self.folder / "cgroup.procs"), *words]

    @property
    def kills(self) -> int:
        """How many processes the kernel has ended here because there was no memory left."""
        text = (self.folder / "memory.oom_control").read_text()
        return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))

    @property
    def anonymous(self) -> int:
        """Bytes that cannot be dropped and read again: what the kernel kills for."""
        text = (self.folder / "memory.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["total_rss"])


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """For processes that have ended when the block does.

    Raises:
        OSError: there are no such groups here, or they are not ours to make.
    """
    group = MemoryGroup(ROOT / f"lapdev-test-{os.getpid()}")
    group.folder.mkdir()
    try:
        (group.folder / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        group.folder.rmdir()
