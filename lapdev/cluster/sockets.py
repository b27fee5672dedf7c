"""Which TCP sockets listen, and who holds them: asked of the kernel, nothing is dialled."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from lapdev.cluster.sock_diag import Listening, SockDiag

LISTEN_STATE = "0A"
_PROC = Path("/proc")


class Listeners:
    """The TCP sockets that listen in one network namespace."""

    def __init__(self, net: Path, diag: SockDiag | None = None) -> None:
        """`net`: the namespace's folder in /proc, for kernels that tell it no other way.

        Takes `diag`, a socket of that namespace.
        """
        self._net = net
        self._diag = diag

    def now(self) -> list[Listening]:
        """None when the namespace is gone."""
        if self._diag is not None:
            try:
                return self._diag.listeners()
            except OSError:
                self.close()  # from now on by /proc
        return list(_read_proc(self._net))

    def close(self) -> None:
        """Idempotent."""
        if self._diag is not None:
            self._diag.close()
            self._diag = None


def holders(inodes: Iterable[int], pids: Iterable[int]) -> dict[int, frozenset[int]]:
    """Socket → session ids of those of the processes that hold it.

    Reads every descriptor of every process given: not for asking often.
    """
    found: dict[int, set[int]] = {inode: set() for inode in inodes}
    links = {f"socket:[{inode}]": inode for inode in found}
    for pid in pids if links else ():
        held = {links[link] for link in _descriptors(pid) if link in links}
        session = session_of(pid) if held else None
        if session is not None:
            for inode in held:
                found[inode].add(session)
    return {inode: frozenset(sessions) for inode, sessions in found.items()}


def port_owners(
    listening: Iterable[Listening], holding: dict[int, frozenset[int]]
) -> dict[int, frozenset[int]]:
    """TCP port listened on → session ids of whoever holds one of its sockets."""
    owners: dict[int, frozenset[int]] = {}
    for each in listening:
        known = owners.get(each.port, frozenset())
        owners[each.port] = known | holding.get(each.inode, frozenset())
    return owners


def session_of(pid: int) -> int | None:
    """The process's session id; None when it has ended."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # "pid (name) state ppid pgrp session …", proc(5): a name may hold blanks and brackets.
    return int(stat.rpartition(")")[2].split()[3])


def processes() -> Iterator[int]:
    """Every process this one can see."""
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def pid_namespace(pid: int) -> str:
    """Names the process's PID namespace; empty when it has ended or is not ours to look at."""
    try:
        return str((_PROC / str(pid) / "ns" / "pid").readlink())
    except OSError:
        return ""


def _read_proc(net: Path) -> Iterator[Listening]:
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except OSError:
            continue  # the process has just ended, or the machine has no IPv6
        for line in lines:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == LISTEN_STATE:
                yield Listening(_address(family, address), int(port, 16), int(words[9]))


def _address(family: int, text: str) -> str:
    """The kernel prints an address as words of 32 bits, in this machine's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return socket.inet_ntop(family, struct.pack(f"={len(text) // 8}I", *words))


def _descriptors(pid: int) -> Iterator[str]:
    try:
        entries = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return  # it has just ended
    for entry in entries:
        try:
            yield str(entry.readlink())
        except OSError:
            continue  # closed meanwhile
