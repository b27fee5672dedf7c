"""How much memory this process may use: its control group's limit, or the machine's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_V1_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with the highest multiple of a page."""


def memory_limit(root: Path = Path("/")) -> int:
    """Bytes: the least of what the kernel grants us, 0 if nothing says how much that is.

    Limits nest: a group's own may be larger than that of a group around it.
    """
    found = [limit for limit in _cgroup_limits(root) if 0 < limit < _V1_UNLIMITED]
    if (total := _machine_memory(root)) > 0:
        found.append(total)
    return min(found, default=0)


def _cgroup_limits(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # version 2 has one hierarchy for all
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                yield from _limits_upwards(root / mount, path, "memory.max")
        elif "memory" in controllers.split(","):
            mount = "sys/fs/cgroup/memory"
            yield from _limits_upwards(root / mount, path, "memory.limit_in_bytes")


def _limits_upwards(mount: Path, path: str, name: str) -> Iterator[int]:
    # In a container the path may be the host's while the mount begins at our own group: then the
    # upper folders are not there, and the mount's own file is the one that counts.
    folder = mount / path.lstrip("/")
    while True:
        yield _number(_text(folder / name))
        if folder == mount or mount not in folder.parents:
            return
        folder = folder.parent


def _machine_memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return _number(line.split()[1]) * 1024
    return 0


def _number(text: str) -> int:
    """0 for what is no number: `max`, or a file that is not there."""
    text = text.strip()
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
