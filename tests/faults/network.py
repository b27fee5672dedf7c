"""Faults of the network of one namespace: silence, resets and killed sockets, by port.

The link that is hit reaches the cloud by a port of its own; packets are chosen by it. Everything
happens in the namespace that the rig made for itself, and ends with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

INSIDE = "LAPDEV_FAULTS_INSIDE"
TO_CLOUD, TO_DIALLER = "to the cloud", "to the dialler"
ESTABLISHED = "01"
SYS_PIDFD_GETFD = 438


def enter_own_network(words: list[str]) -> int:
    """Runs this program again, with `words`, in a network namespace with nothing but loopback."""
    unshare = (
        ["unshare", "--net"]
        if os.geteuid() == 0
        else ["unshare", "--user", "--map-root-user", "--net"]
    )
    command = [*unshare, sys.executable, "-m", "tests.faults", *words]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


def inside() -> bool:
    return os.environ.get(INSIDE) == "1"


def bring_up() -> None:
    """Loopback works."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@dataclass(frozen=True, slots=True)
class Connection:
    """One established connection as the dialler sees it."""

    local: tuple[str, int]
    remote: tuple[str, int]
    inode: int


def connections(host: str, port: int) -> list[Connection]:
    """Those dialled to `host`:`port`, the oldest port first."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == ESTABLISHED and _address(words[2]) == (host, port):
            found.append(Connection(_address(words[1]), (host, port), int(words[9])))
    return sorted(found, key=lambda each: each.local)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return socket.inet_ntoa(struct.pack("=I", int(host, 16))), int(port, 16)


@contextmanager
def silence(
    host: str, port: int, directions: tuple[str, ...] = (TO_CLOUD, TO_DIALLER), local: int = 0
) -> Iterator[None]:
    """Packets of the connections to `host`:`port` vanish; `local`: only of that dialler's port."""
    rules = [[*_match(each, host, port, local), "-j", "DROP"] for each in directions]
    with _rules(rules):
        yield


@asynccontextmanager
async def refusing(host: str, port: int, local: int = 0) -> AsyncIterator[None]:
    """Whatever either end of an established connection sends is answered with a RST."""
    rules = [
        [
            *_match(each, host, port, local),
            "--tcp-flags",
            "SYN,RST",
            "NONE",
            "-j",
            "REJECT",
            "--reject-with",
            "tcp-reset",
        ]
        for each in (TO_CLOUD, TO_DIALLER)
    ]
    with _rules(rules):
        yield


async def reset(host: str, port: int, local: int = 0, timeout: float = 15.0) -> int:
    """The connections that are there get a RST at both ends; how many those were."""
    loop = asyncio.get_running_loop()
    chosen = {each.inode for each in connections(host, port) if local in (0, each.local[1])}
    deadline = loop.time() + timeout
    async with refusing(host, port, local):
        while chosen & {each.inode for each in connections(host, port)}:
            if loop.time() > deadline:
                raise TimeoutError("the connections were not reset: nothing was sent on them")
            await asyncio.sleep(0.005)
    return len(chosen)


def _match(direction: str, host: str, port: int, local: int) -> list[str]:
    words = ["-p", "tcp", "-d", host, "--dport", str(port)] + (
        ["--sport", str(local)] if local else []
    )
    if direction == TO_DIALLER:
        words = ["-p", "tcp", "-s", host, "--sport", str(port)] + (
            ["--dport", str(local)] if local else []
        )
    return words


@contextmanager
def _rules(rules: list[list[str]]) -> Iterator[None]:
    for rule in rules:
        _iptables("-I", rule)
    try:
        yield
    finally:
        for rule in rules:
            _iptables("-D", rule)


def _iptables(action: str, rule: list[str]) -> None:
    assert inside(), "only in a namespace of our own"
    environ = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    subprocess.run(["iptables", "-w", action, "INPUT", *rule], check=True, env=environ)


# What `ss -K` does, where the kernel has it: the connection is aborted under its owner's hands.


def kill_sockets(pid: int, host: str, port: int, local: int = 0) -> int:
    """The sockets by which process `pid` dialled `host`:`port` are dead; how many those were.

    A RST leaves for the other end. Needs the right to trace the process.
    """
    wanted = {each.inode for each in connections(host, port) if local in (0, each.local[1])}
    killed = 0
    for fd, inode in list(_sockets_of(pid)):
        if inode in wanted:
            with _borrowed(pid, fd) as borrowed:
                _abort(borrowed)
                killed += 1
    return killed


def _sockets_of(pid: int) -> Iterator[tuple[int, int]]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            name = str(entry.readlink())
            if name.startswith("socket:["):
                yield int(entry.name), int(name[8:-1])


@contextmanager
def _borrowed(pid: int, fd: int) -> Iterator[int]:
    """A copy of another process's descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        copy = libc.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        try:
            yield copy
        finally:
            os.close(copy)
    finally:
        os.close(pidfd)


def _abort(fd: int) -> None:
    """Connecting to no family at all ends a TCP connection at once, with a RST."""
    libc = ctypes.CDLL(None, use_errno=True)
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    if libc.connect(fd, nowhere, len(nowhere)) < 0:
        raise OSError(ctypes.get_errno(), "connect to AF_UNSPEC")
