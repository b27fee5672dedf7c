"""Which processes belong to whom, as /proc tells it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from lapdev.errors import ClusterError

PROC = Path("/proc")

LISTENING = "0A"
"""The state in /proc/net/tcp, proc(5)."""


def is_alive(pid: int) -> bool:
    """The process exists and is not merely waiting to be reaped."""
    try:
        state = _stat(pid)[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def descendants(pid: int) -> frozenset[int]:
    """Every live process below `pid`."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                state, parent = _stat(int(entry.name))
            except OSError:
                continue
            if state not in ("Z", "X"):
                children[parent].append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children[waiting.pop()]:
            found.add(child)
            waiting.append(child)
    return frozenset(found)


def sidecar_beside(manager: int, program: str, version: str) -> int:
    """The sidecar in the same pod as the program with that VERSION.

    Those of one pod listen on the same address of the same network namespace: 0.0.0.0 of their
    own, or, without isolation, the pod's own address of the machine's.

    Raises:
        ClusterError: there is none below the manager.
    """
    below = descendants(manager)
    apps = [pid for pid in below if _runs(pid, program) and _has_version(pid, version)]
    places = {place for pid in apps for place in _listens(pid)}
    for pid in below:
        if _runs(pid, "sidecar") and not places.isdisjoint(_listens(pid)):
            return pid
    raise ClusterError(f"found no sidecar beside {program} {version} below process {manager}")


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent."""
    text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    # The name is in parentheses and may itself hold any character.
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _runs(pid: int, word: str) -> bool:
    words = _read(pid, "cmdline").split(b"\0")
    return any(item.endswith(word.encode()) for item in words)


def _has_version(pid: int, version: str) -> bool:
    return f"VERSION={version}".encode() in _read(pid, "environ").split(b"\0")


def _listens(pid: int) -> frozenset[tuple[str, str]]:
    """(network namespace, address) of each IPv4 socket the process listens on."""
    try:
        network = str((PROC / str(pid) / "ns" / "net").readlink())
        sockets = {_link(entry) for entry in (PROC / str(pid) / "fd").iterdir()}
    except OSError:
        return frozenset()
    rows = [line.split() for line in _read(pid, "net/tcp").decode("ascii").splitlines()[1:]]
    return frozenset(
        (network, row[1].partition(":")[0])
        for row in rows
        if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets
    )


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""  # closed meanwhile


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
