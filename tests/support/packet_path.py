"""A network path between two network namespaces, with delay, loss and a rate per packet.

Each namespace has one TUN device; a process of its own carries the packets from one to the other.
What TCP does with a lost packet is therefore what the kernel does, not what a proxy imitates. The
loss is seeded: the n-th packet of a direction is lost or not, whenever it comes. The devices offer
no offloads, so that a packet is never longer than `mtu`.

    with packet_path(Conditions(delay=0.04, loss=0.01), mtu=1500) as path:
        subprocess.run(path.near.command(["curl", f"http://{path.far.address}:8000/"]))

Needs /dev/net/tun, nsenter, and root or user namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lapdev.cluster import interfaces, syscalls

PROJECT = Path(__file__).resolve().parents[2]
DEVICE = "path0"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
QUEUE_PACKETS = 20_000
"""Of a device: what the kernel keeps while the relay is busy. It drops what is more."""

_TUNSETIFF = 0x400454CA
_SIOCSIFMTU = 0x8922
_SIOCSIFTXQLEN = 0x8943
_IFF_TUN_NO_PI = 0x1001
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of one direction, or of both."""

    delay: float = 0.0
    """Seconds one way: a round trip takes two."""
    loss: float = 0.0
    """The share of packets that are lost; 1.0 is silence."""
    rate: float = 0.0
    """Bits a second; 0 is as fast as the relay can."""
    queue: float = 0.1
    """At most this many seconds of packets wait for the rate; what comes then is dropped."""


@dataclass(slots=True)
class Count:
    """What has happened to the packets that one end sent."""

    packets: int = 0
    octets: int = 0
    lost: int = 0
    dropped: int = 0
    """Found the queue of the rate full."""


@dataclass(frozen=True, slots=True)
class End:
    """One of the two namespaces."""

    address: str
    pid: int
    namespace: int
    """The descriptor of the network namespace in the relay process `pid`."""

    def command(self, arguments: list[str]) -> list[str]:
        """The command line that runs a program there."""
        net = f"--net=/proc/{self.pid}/fd/{self.namespace}"
        if os.geteuid() == 0:
            return ["nsenter", net, "--", *arguments]
        user = f"--user=/proc/{self.pid}/ns/user"
        return ["nsenter", "--preserve-credentials", user, net, "--", *arguments]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is there; a socket made meanwhile stays there. For root only."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.pid}/fd/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(there, syscalls.NEW_NET)
            try:
                yield
            finally:
                syscalls.setns(home, syscalls.NEW_NET)
        finally:
            os.close(home)
            os.close(there)

    def set_sysctl(self, name: str, value: str) -> None:
        """`net.ipv4.tcp_wmem` and its like, which each namespace has for itself."""
        path = "/proc/sys/" + name.replace(".", "/")
        command = self.command(["tee", path])
        subprocess.run(command, input=value.encode(), stdout=subprocess.DEVNULL, check=True)

    def sysctl(self, name: str) -> str:
        path = "/proc/sys/" + name.replace(".", "/")
        done = subprocess.run(self.command(["cat", path]), capture_output=True, check=True)
        return done.stdout.decode().strip()


@dataclass(slots=True)
class PacketPath:
    """The path while it exists."""

    near: End
    far: End
    _control: socket.socket
    relay_pid: int

    def change(self, conditions: Conditions, *, sent_by: str = "both") -> None:
        """Holds for packets that come from now on; `sent_by` is "near", "far" or "both"."""
        self._ask({"conditions": asdict(conditions), "sent_by": sent_by})

    def counts(self) -> tuple[Count, Count]:
        """Of what the near end sent, and of what the far end sent."""
        near, far = self._ask({})
        return Count(**near), Count(**far)

    def _ask(self, question: dict[str, object]) -> list[dict[str, int]]:
        self._control.sendall(json.dumps(question).encode())
        answer: list[dict[str, int]] = json.loads(self._control.recv(65_536))
        return answer


@contextmanager
def packet_path(
    conditions: Conditions | None = None, *, mtu: int = 1500, seed: int = 1, cpu: int | None = None
) -> Iterator[PacketPath]:
    """Both namespaces and the relay between them, which is pinned to `cpu` if that is given.

    Raises:
        OSError: this machine does not allow it, and says what.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = [str(theirs.fileno()), str(mtu), str(seed), "" if cpu is None else str(cpu)]
    relay = subprocess.Popen(
        [sys.executable, "-m", "tests.support.packet_path", *arguments],
        cwd=PROJECT,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    try:
        ready = json.loads(ours.recv(65_536) or b'{"problem": "the relay did not start"}')
        if "problem" in ready:
            raise OSError(ready["problem"])
        near, far = (
            End(address, relay.pid, namespace)
            for address, namespace in zip(ADDRESSES, ready["namespaces"], strict=True)
        )
        path = PacketPath(near, far, ours, relay.pid)
        path.change(conditions or Conditions())
        yield path
    finally:
        ours.close()
        relay.wait(timeout=10)


# In the relay's process


def _make_end(address: str, mtu: int) -> tuple[int, int]:
    """(descriptor of the TUN device, descriptor of the namespace) of a new namespace."""
    syscalls.unshare(syscalls.NEW_NET)
    interfaces.bring_up("lo")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("=16sH22x", DEVICE.encode(), _IFF_TUN_NO_PI))
    with contextlib.suppress(OSError):  # a kernel without IPv6 asks for no router either
        Path(f"/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6").write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for request, value in ((_SIOCSIFMTU, mtu), (_SIOCSIFTXQLEN, QUEUE_PACKETS)):
            fcntl.ioctl(sock, request, struct.pack("=16si20x", DEVICE.encode(), value))
    interfaces.set_address(DEVICE, address, "255.255.255.252")
    interfaces.bring_up(DEVICE)
    return device, os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@dataclass(slots=True)
class _Direction:
    source: int
    sink: int
    chance: random.Random
    conditions: Conditions = field(default_factory=Conditions)
    count: Count = field(default_factory=Count)
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    free_at: float = 0.0
    """When the rate has sent all that waits for it."""

    def take(self, now: float) -> None:
        """Reads what there is, up to a batch."""
        conditions, count, waiting = self.conditions, self.count, self.waiting
        loss, chance, source = conditions.loss, self.chance.random, self.source
        rate, due = conditions.rate, now + conditions.delay
        for _ in range(_BATCH):
            try:
                packet = os.read(source, 65_536)
            except BlockingIOError:
                return
            count.packets += 1
            count.octets += len(packet)
            # Drawn for every packet: what a change of the loss does not change is the order.
            if chance() < loss:
                count.lost += 1
                continue
            if rate:
                begin = max(self.free_at, now)
                if begin - now > conditions.queue:
                    count.dropped += 1
                    continue
                self.free_at = begin + len(packet) * 8 / rate
                due = self.free_at + conditions.delay
            waiting.append((due, packet))

    def give(self, now: float) -> None:
        """Writes what is due."""
        waiting, sink = self.waiting, self.sink
        while waiting and waiting[0][0] <= now:
            with contextlib.suppress(BlockingIOError):
                os.write(sink, waiting.popleft()[1])


def _carry(directions: tuple[_Direction, _Direction], control: socket.socket) -> None:
    """Until the control socket ends."""
    near, far = directions
    sources = {near.source: near, far.source: far}
    readers = [control.fileno(), *sources]
    clock = time.monotonic
    while True:
        heads = [one.waiting[0][0] for one in directions if one.waiting]
        timeout = max(min(heads) - clock(), 0.0) if heads else None
        readable, _, _ = select.select(readers, [], [], timeout)
        now = clock()
        for descriptor in readable:
            if descriptor in sources:
                sources[descriptor].take(now)
            elif not _obey(directions, control):
                return
        now = clock()
        near.give(now)
        far.give(now)


def _obey(directions: tuple[_Direction, _Direction], control: socket.socket) -> bool:
    message = control.recv(65_536)
    if not message:
        return False
    question = json.loads(message)
    if "conditions" in question:
        for name, direction in zip(("near", "far"), directions, strict=True):
            if question["sent_by"] in (name, "both"):
                direction.conditions = Conditions(**question["conditions"])
    control.sendall(json.dumps([asdict(direction.count) for direction in directions]).encode())
    return True


def main(control_fd: str, mtu: str, seed: str, cpu: str) -> None:
    control = socket.socket(fileno=int(control_fd))
    syscalls.die_with_parent()
    try:
        if os.geteuid() != 0:
            uid, gid = os.getuid(), os.getgid()
            syscalls.unshare(syscalls.NEW_USER)
            syscalls.map_own_ids(0, uid, gid)
        ends = [_make_end(address, int(mtu)) for address in ADDRESSES]
    except OSError as exc:
        control.sendall(json.dumps({"problem": f"no path between namespaces: {exc}"}).encode())
        return
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    (near, near_space), (far, far_space) = ends
    control.sendall(json.dumps({"namespaces": [near_space, far_space]}).encode())
    gc.disable()  # nothing here is in a cycle, and a collection would be a jitter
    directions = (
        _Direction(near, far, random.Random(f"{seed}/near")),
        _Direction(far, near, random.Random(f"{seed}/far")),
    )
    _carry(directions, control)


if __name__ == "__main__":
    main(*sys.argv[1:])
