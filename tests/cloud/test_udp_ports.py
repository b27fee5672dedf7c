"""UDP ports of exposures: opened, moved and closed with them; and an echo all the way."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import cast

from lapdev.cloud.udp_ports import UdpPorts
from lapdev.errors import NotReady
from lapdev.model import ExposureId, ExposureKind
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from tests.cloud.test_tcp_previews import HOST, free_ports
from tests.support.exposing import exposing, exposing_devbox
from tests.support.raw import PATIENCE
from tests.support.running_cloud import running_cloud

ID = ExposureId("dns-x")


class Echo(asyncio.DatagramProtocol):
    """Answers each datagram with itself, backwards."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # uvloop's own class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data[::-1], addr)


class Sender(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait(data)


def away(protocol: asyncio.Protocol) -> Stream:
    raise NotReady


def is_open(port: int) -> bool:
    """Whether somebody receives there: only then may nobody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return True
    return False


async def wait_closed(port: int) -> None:
    """The loop closes a socket a few turns after it was told to."""
    async with asyncio.timeout(PATIENCE):
        while is_open(port):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0)


async def ask(port: int, data: bytes) -> bytes:
    """The answer to one datagram of a sender of its own."""
    loop = asyncio.get_running_loop()
    transport, sender = await loop.create_datagram_endpoint(Sender, remote_addr=(HOST, port))
    try:
        transport.sendto(data)
        async with asyncio.timeout(PATIENCE):
            return await sender.heard.get()
    finally:
        transport.close()


async def test_a_port_is_open_while_it_is_wanted() -> None:
    ports = free_ports(3)
    async with Tasks() as tasks:
        udp = UdpPorts(ports, tasks)
        assert udp.problem(ID) == "not listened for yet"
        await udp.refresh({ID: (ports.first, away)})
        await udp.refresh({ID: (ports.first, away)})
        assert (udp.problem(ID), is_open(ports.first)) == ("", True)
        await udp.refresh({ID: (ports.last, away)})
        await wait_closed(ports.first)
        assert is_open(ports.last)
        await udp.refresh({})
        await wait_closed(ports.last)


async def test_a_port_that_cannot_be_had_says_why_and_is_tried_again() -> None:
    ports = free_ports(1)
    async with Tasks() as tasks:
        udp = UdpPorts(ports, tasks)
        await udp.refresh({ID: (ports.last + 1, away)})
        assert "is not in 127.0.0.1:" in udp.problem(ID)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HOST, ports.first))
            await udp.refresh({ID: (ports.first, away)})
            assert "in use" in udp.problem(ID)
        await udp.refresh({ID: (ports.first, away)})
        assert udp.problem(ID) == ""


async def test_datagrams_reach_the_program_and_its_answers_their_sender(tmp_path: Path) -> None:
    ports = free_ports(1)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0))
    local = transport.get_extra_info("sockname")[1]
    try:
        async with (
            running_cloud(tmp_path, str(ports)) as cloud,
            exposing_devbox(cloud, exposing(local, ExposureKind.UDP)) as devbox,
        ):
            assert devbox.state.url == f"udp://{HOST}:{ports.first}"
            assert devbox.state.problem == ""
            assert await ask(devbox.port, b"hello") == b"olleh"
            assert await ask(devbox.port, b"x" * 1_400) == b"x" * 1_400
            await devbox.exposer.end()
            await wait_closed(ports.first)
    finally:
        transport.close()
