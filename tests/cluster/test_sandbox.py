"""Where a pod's processes live: its ports, and what a broken start leaves."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lapdev.cluster.network import Network
from lapdev.cluster.sandbox import IsolatedSandbox, Place, Program, listening_ports
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.support.in_outer import in_outer
from tests.support.processes import members, pid_namespace

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200407F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2
   2: 0100007F:0051 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 3
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0052 00000000000000000000000000000000:0000 0A 00000000:00
"""


def test_listening_sockets_are_told_from_connections(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert listening_ports(tmp_path) == {8080, 80}
    (tmp_path / "tcp6").write_text(TCP6)
    assert listening_ports(tmp_path) == {8080, 80, 82}


def test_without_isolation_only_the_pods_own_address_counts(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert listening_ports(tmp_path, "127.64.0.2") == {8080}


def test_a_real_listener_is_seen_at_its_address() -> None:
    with socket.create_server(("127.64.0.9", 0)) as server:
        port = server.getsockname()[1]
        assert listening_ports(Path("/proc/self/net"), "127.64.0.9") == {port}
    assert listening_ports(Path("/proc/self/net"), "127.64.0.9") == frozenset()


def test_a_process_that_ended_listens_nowhere(tmp_path: Path) -> None:
    assert listening_ports(tmp_path / "gone") == frozenset()


@in_outer
async def test_a_start_that_fails_says_why_and_leaves_nothing(folder: Path) -> None:
    import sys

    spawner = Spawner(sys.executable, isolation=True)
    network = Network()
    await spawner.start()
    await network.start()
    subnet = AddressPlan(ISOLATED_RANGE).take()
    bridge = await network.add_namespace(subnet)
    place = Place(
        name="web-x",
        namespace="shop",
        ip=subnet.pods.take(),
        subnet=subnet,
        bridge=bridge,
        folder=folder / "web-x",
        fresh=("/tmp",),
        keep=("/tmp/no",),
    )
    sandbox = IsolatedSandbox(spawner, network, place)
    with pytest.raises(ClusterError, match=r"cannot prepare pod web-x: .*/tmp/no"):
        await sandbox.start({})
    with pytest.raises(ClusterError, match="pod web-x has gone"):
        await sandbox.spawn(Program(["true"], {}, "/"))
    assert members(pid_namespace(spawner.reaper_pid)) == [str(spawner.reaper_pid)]
    await network.remove_namespace(subnet)
    await network.aclose()
    await spawner.aclose()
