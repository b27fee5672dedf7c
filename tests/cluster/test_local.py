"""The local driver beyond the contract: what a pod is, and what survives whose death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev.cluster.local import LocalDriver
from lapdev.errors import ClusterError
from tests.cluster import local_checks
from tests.cluster.local_world import options
from tests.support import needs
from tests.support.fake_driver import FakeCredentials
from tests.support.in_outer import run_in_outer


@pytest.mark.slow
@pytest.mark.parametrize("check", local_checks.CHECKS)
def test_in_namespaces(check: str) -> None:
    run_in_outer("tests.cluster.local_checks", check)


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
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "tests.support.in_outer", "tests.cluster.local_checks"]
    manager = subprocess.Popen(
        [*command, "serve_until_killed", str(write_end)],
        cwd=needs.PROJECT,
        pass_fds=(write_end,),
    )
    os.close(write_end)
    with os.fdopen(read_end) as ready:
        pids = json.loads(ready.readline())
    assert len(pids) >= 8  # reaper, 2 holders, 2 sidecars, 2 apps, and one that hides
    pidfds = [os.pidfd_open(pid) for pid in pids]
    manager.send_signal(signal.SIGKILL)
    manager.wait()
    assert local_checks.all_gone(pidfds, timeout=5.0)
    for pidfd in pidfds:
        os.close(pidfd)
