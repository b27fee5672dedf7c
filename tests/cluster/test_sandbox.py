"""Where a pod's processes live: its ports, and what a broken start leaves."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[tuple[Spawner, Callable[..., IsolatedSandbox]]]:
    """A spawner, and what makes sandboxes on it."""
    spawner = Spawner(sys.executable, isolation=True)
    network = Network()
    await spawner.start()
    await network.start()
    subnet = AddressPlan(ISOLATED_RANGE).take()
    bridge = await network.add_namespace(subnet)

    def sandbox(**more: Any) -> IsolatedSandbox:
        ip = subnet.pods.take()
        place = Place("web-x", "shop", ip, subnet, bridge, folder / "web-x", **more)
        return IsolatedSandbox(spawner, network, place)

    try:
        yield spawner, sandbox
    finally:
        await network.remove_namespace(subnet)
        await network.aclose()
        await spawner.aclose()


@in_outer
async def test_a_start_that_fails_says_why_and_leaves_nothing(folder: Path) -> None:
    async with machine(folder) as (spawner, make):
        sandbox = make(fresh=("/tmp",), keep=("/tmp/no",))
        with pytest.raises(ClusterError, match=r"cannot prepare pod web-x: .*/tmp/no"):
            await sandbox.start({})
        with pytest.raises(ClusterError, match="pod web-x has gone"):
            await sandbox.spawn(Program(["true"], {}, "/"))
        assert members(pid_namespace(spawner.reaper_pid)) == [str(spawner.reaper_pid)]


@in_outer
async def test_a_sandbox_that_ended_this_moment_can_be_killed(folder: Path) -> None:
    async with machine(folder) as (_, make):
        sandbox = make()
        await sandbox.start({})
        os.kill(sandbox.holder_pid, signal.SIGKILL)
        while Path(f"/proc/{sandbox.holder_pid}").exists():
            time.sleep(0)  # noqa: ASYNC251 - the event loop must not hear of it first
        await sandbox.kill()
        await sandbox.wait_gone()
