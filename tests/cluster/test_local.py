"""The local driver beyond the contract: what a pod is, and what survives whose death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lapdev.cluster.driver import NamespaceSpec
from lapdev.cluster.local import LocalDriver
from lapdev.errors import ClusterError
from tests.cluster.clients import DAEMON
from tests.cluster.contract import deployment, service, spec
from tests.cluster.local_world import local_world, options
from tests.support import needs
from tests.support.fake_driver import FakeCredentials
from tests.support.processes import all_gone, members, pid_namespace


async def test_starting_outside_the_outer_namespaces_says_what_to_do(tmp_path: Path) -> None:
    driver = LocalDriver(options(tmp_path), FakeCredentials())
    with pytest.raises(ClusterError, match="namespaces of its own") as caught:
        await driver.start()
    assert "enter_outer" in caught.value.hint
    assert "--no-isolation" in caught.value.hint
    await driver.aclose()


@pytest.mark.slow
def test_a_killed_manager_leaves_no_process_behind() -> None:
    needs.userns()
    # The killed manager cannot remove its folder; the one around it goes with this test.
    with tempfile.TemporaryDirectory(prefix="lapdev-test-") as around:
        read_end, write_end = os.pipe()
        command = [sys.executable, "-m", "tests.support.in_outer", __name__]
        manager = subprocess.Popen(
            [*command, "serve_until_killed", str(write_end)],
            cwd=needs.PROJECT,
            pass_fds=(write_end,),
            env={**os.environ, "TMPDIR": around},
        )
        os.close(write_end)
        with os.fdopen(read_end) as ready:
            pids = json.loads(ready.readline())
        assert len(pids) >= 8  # reaper, 2 holders, 2 sidecars, 2 apps, and one that hides
        pidfds = [os.pidfd_open(pid) for pid in pids]
        manager.send_signal(signal.SIGKILL)
        manager.wait()
        assert all_gone(pidfds, timeout=5.0)
        for pidfd in pidfds:
            os.close(pidfd)


async def serve_until_killed(folder: Path, ready_fd: str) -> None:
    """Not a check: a manager for `test_local` to kill. Tells which processes it runs."""
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        web["spec"]["template"]["spec"]["containers"][0]["command"] = [
            sys.executable,
            "-S",
            "-c",
            DAEMON,
        ]
        services = (service("web"), service("api"))
        workloads = (
            *spec(web, with_sidecar=True).workloads,
            *spec(deployment("api"), with_sidecar=True).workloads,
        )
        await driver.apply(NamespaceSpec("shop", workloads, services))
        await world.wait_ready()
        os.write(int(ready_fd), json.dumps(_everything_started(driver)).encode() + b"\n")
        await asyncio.Event().wait()


def _everything_started(driver: LocalDriver) -> list[int]:
    """Process ids of all pods, the reaper, and whatever they started."""
    pids = {pid for pod in driver.pods("shop") for pid in (*pod.container_pids, pod.sidecar_pid)}
    spaces = {pid_namespace(pid) for pid in pids}
    return sorted(int(member) for space in spaces for member in members(space))
