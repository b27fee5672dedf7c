"""A path between two namespaces delays, loses and limits as it is told."""

from __future__ import annotations

import socket
import time

import pytest

from tests.support import needs
from tests.support.packet_path import Conditions, End, PacketPath, packet_path

WAIT = 5.0

pytestmark = pytest.mark.slow


def bound(end: End) -> socket.socket:
    """A UDP socket at that end: one datagram is one packet."""
    with end.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((end.address, 9))
    sock.settimeout(WAIT)
    return sock


def arrived(path: PacketPath, numbers: range) -> list[int]:
    """Which of the numbered packets from near reach far; one that is never lost ends them."""
    with bound(path.near) as near, bound(path.far) as far:
        for number in numbers:
            near.sendto(str(number).encode(), far.getsockname())
        _settled(path, len(numbers))
        near.sendto(b"end", far.getsockname())
        found = []
        while (data := far.recv(100)) != b"end":
            found.append(int(data))
        return found


def _settled(path: PacketPath, packets: int) -> None:
    """The relay has read that many packets from near, and loses nothing from now on."""
    until = time.monotonic() + WAIT
    while path.counts()[0].packets < packets:
        assert time.monotonic() < until, path.counts()
    path.change(Conditions())


def test_every_packet_is_late_by_the_delay() -> None:
    needs.packet_path()
    with (
        packet_path(Conditions(delay=0.05)) as path,
        bound(path.near) as near,
        bound(path.far) as far,
    ):
        begun = time.monotonic()
        near.sendto(b"ping", far.getsockname())
        assert far.recv(100) == b"ping"
        assert time.monotonic() - begun >= 0.05
        far.sendto(b"pong", near.getsockname())
        assert near.recv(100) == b"pong"
        assert time.monotonic() - begun >= 0.1
        sent, answered = path.counts()
    assert (sent.packets, answered.packets) == (1, 1)


def test_the_same_seed_loses_the_same_packets() -> None:
    needs.packet_path()
    lossy, numbers = Conditions(loss=0.2), range(200)
    with packet_path(lossy, seed=7) as path:
        first = arrived(path, numbers)
        lost = path.counts()[0].lost
    with packet_path(lossy, seed=7) as path:
        again = arrived(path, numbers)
    with packet_path(lossy, seed=8) as path:
        other = arrived(path, numbers)
    assert first == again != other
    assert lost == 200 - len(first)
    assert 10 <= lost <= 90


def test_silence_can_be_of_one_direction() -> None:
    needs.packet_path()
    with packet_path() as path, bound(path.near) as near, bound(path.far) as far:
        path.change(Conditions(loss=1.0), sent_by="near")
        near.sendto(b"unheard", far.getsockname())
        far.sendto(b"heard", near.getsockname())
        assert near.recv(100) == b"heard"
        _settled(path, 1)
        near.sendto(b"heard again", far.getsockname())
        assert far.recv(100) == b"heard again"
        assert path.counts()[0].lost == 1


def test_what_exceeds_the_rate_waits_and_then_is_dropped() -> None:
    needs.packet_path()
    # 1,028 octets with the headers take 8.2 ms each: the queue holds about twelve.
    slow = Conditions(rate=1_000_000, queue=0.1)
    with packet_path(slow) as path, bound(path.near) as near, bound(path.far) as far:
        begun = time.monotonic()
        for _ in range(40):
            near.sendto(bytes(1000), far.getsockname())
        for _ in range(10):
            far.recv(2000)
        assert time.monotonic() - begun >= 10 * 1028 * 8 / 1_000_000
        until = time.monotonic() + WAIT
        while path.counts()[0].packets < 40:
            assert time.monotonic() < until
        assert path.counts()[0].dropped >= 10


def test_a_program_runs_at_one_end_and_its_settings_are_its_own() -> None:
    needs.packet_path()
    with packet_path(mtu=9000) as path:
        path.near.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 33554432")
        assert path.near.sysctl("net.ipv4.tcp_wmem").split()[-1] == "33554432"
        assert path.far.sysctl("net.ipv4.tcp_wmem").split()[-1] != "33554432"
        with path.near.entered():
            assert [name for _, name in socket.if_nameindex()] == ["lo", "path0"]
    assert "path0" not in [name for _, name in socket.if_nameindex()]
