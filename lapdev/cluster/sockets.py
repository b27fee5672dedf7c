"""Which TCP ports are listened on, and by whom: read from /proc, nothing is dialled."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

LISTEN_STATE = "0A"
_PROC = Path("/proc")


def listening_ports(net: Path, ip: str = "") -> frozenset[int]:
    """TCP ports in state LISTEN, from a network namespace's /proc files; with `ip`, only there."""
    return frozenset(port for port, _ in _listeners(net, ip))


def port_owners(net: Path, pids: Iterable[int], ip: str = "") -> dict[int, frozenset[int]]:
    """TCP port listened on → session ids of those of the processes that hold its socket.

    Reads every descriptor of every process given: for looking into a failure, not for asking often.
    """
    ports = {f"socket:[{inode}]": port for port, inode in _listeners(net, ip)}
    owners: dict[int, set[int]] = {port: set() for port in ports.values()}
    for pid in pids:
        held = {ports[link] for link in _descriptors(pid) if link in ports}
        session = session_of(pid) if held else None
        if session is not None:
            for port in held:
                owners[port].add(session)
    return {port: frozenset(sessions) for port, sessions in owners.items()}


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


def _listeners(net: Path, ip: str) -> Iterator[tuple[int, str]]:
    """(port, inode) of every listening TCP socket."""
    wanted = struct.pack("=I", struct.unpack(">I", socket.inet_aton(ip))[0]).hex() if ip else ""
    for name in ("tcp", "tcp6"):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except OSError:
            continue  # the process has just ended, or the machine has no IPv6
        for line in lines:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == LISTEN_STATE and (not wanted or address.lower() == wanted):
                yield int(port, 16), words[9] if len(words) > 9 else ""


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
