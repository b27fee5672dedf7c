"""Where a pod's processes live: its ports, and what a broken start leaves."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.network import Network
from lapdev.cluster.sandbox import IsolatedSandbox, Place, Program
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.support.in_outer import in_outer
from tests.support.processes import members, pid_namespace


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
            await sandbox.start()
        with pytest.raises(ClusterError, match="pod web-x has gone"):
            await sandbox.spawn(Program(["true"], {}, "/"))
        assert members(pid_namespace(spawner.reaper_pid)) == [str(spawner.reaper_pid)]


@in_outer
async def test_a_sandbox_that_ended_this_moment_can_be_killed(folder: Path) -> None:
    async with machine(folder) as (_, make):
        sandbox = make()
        await sandbox.start()
        os.kill(sandbox.holder_pid, signal.SIGKILL)
        while Path(f"/proc/{sandbox.holder_pid}").exists():
            time.sleep(0)  # noqa: ASYNC251 - the event loop must not hear of it first
        await sandbox.kill()
        await sandbox.wait_gone()
