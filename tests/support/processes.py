"""Looking at processes from outside: which belong together, and whether they have ended."""

from __future__ import annotations

import select
from pathlib import Path


def pid_namespace(pid: int | str | None) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def members(namespace: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and pid_namespace(entry.name) == namespace:
                found.append(entry.name)
        except OSError:
            continue  # it has just ended
    return found


def all_gone(pidfds: list[int], timeout: float) -> bool:
    """Every process has ended within `timeout` seconds."""
    waiting = set(pidfds)
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    while waiting:
        ended = poll.poll(timeout * 1000)
        if not ended:
            return False
        for pidfd, _ in ended:
            poll.unregister(pidfd)
            waiting.discard(pidfd)
    return True
