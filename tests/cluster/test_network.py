"""Bridges come and go, and a wrong one is a ClusterError."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from ipaddress import ip_address
from pathlib import Path

import pytest

from lapdev.cluster import interfaces
from lapdev.cluster.network import Network
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.support.in_outer import in_outer


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


@in_outer
async def test_a_namespace_has_a_bridge_and_its_service_addresses_are_ours(folder: Path) -> None:
    network = Network()
    await network.start()
    plan = AddressPlan(ISOLATED_RANGE)
    first, second = plan.take(), plan.take()
    bridges = [await network.add_namespace(subnet) for subnet in (first, second)]
    assert set(bridges) <= links()
    for address in (first.gateway, first.services.take(), second.services.take()):
        socket.create_server((address, 80)).close()
    await network.remove_namespace(first)
    assert bridges[0] not in links()
    with pytest.raises(OSError, match="assign requested address"):
        socket.create_server((first.services.take(), 80))
    # The same subnet again: nothing of the first one was left.
    await network.add_namespace(first)
    await network.aclose()
    await network.aclose()


def hardware_address(name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16s24x", name.encode())
        answer = fcntl.ioctl(sock, 0x8927, request)  # SIOCGIFHWADDR, netdevice(7)
    return bytes(answer[18:24])


@in_outer
async def test_pods_that_come_and_go_do_not_change_the_bridges_hardware_address(
    folder: Path,
) -> None:
    network = Network()
    await network.start()
    subnet = AddressPlan(ISOLATED_RANGE).take()
    bridge = await network.add_namespace(subnet)
    before = hardware_address(bridge)
    await network.add_pod(bridge, os.getpid())
    assert hardware_address(bridge) == before
    assert before == bytes((2, 0, *ip_address(subnet.gateway).packed))
    await network.aclose()


@in_outer
async def test_a_pod_without_a_process_is_a_cluster_error(folder: Path) -> None:
    network = Network()
    await network.start()
    bridge = await network.add_namespace(AddressPlan(ISOLATED_RANGE).take())
    with pytest.raises(ClusterError, match="cannot set up the pods' network"):
        await network.add_pod(bridge, 4194305)  # greater than any process id
    await network.aclose()


@in_outer
async def test_an_interface_gets_its_address_and_route_by_ioctl(folder: Path) -> None:
    network = Network()
    await network.start()
    bridge = await network.add_namespace(AddressPlan(ISOLATED_RANGE).take())
    await network.add_pod(bridge, os.getpid())
    assert "eth0" in links()
    interfaces.set_address("eth0", "198.19.0.9", "255.255.255.0")
    interfaces.bring_up("eth0")
    interfaces.set_default_route("198.19.0.1")
    socket.create_server(("198.19.0.9", 0)).close()
    routes = [line.split()[:3] for line in Path("/proc/net/route").read_text().splitlines()]
    assert ["eth0", "00000000", "010013C6"] in routes
    with pytest.raises(OSError, match="No such device"):
        interfaces.bring_up("none")
    await network.aclose()
