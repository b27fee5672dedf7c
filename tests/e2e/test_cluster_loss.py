"""A manager that stops answering without a word: the cluster is Not Ready, and Ready again."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.running_cloud import RunningCloud, running_cloud

LOSS_SECONDS = 20.0
"""tunnel.md: dead-peer detection, both ends."""


@asynccontextmanager
async def manager_process(
    cloud: RunningCloud, tmp_path: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "lapdev", "serve", "--role", "manager", "--no-isolation"]
    process = await asyncio.create_subprocess_exec(
        *command,
        f"--cloud={cloud.address}",
        f"--token-file={tmp_path}/cluster-token",
        f"--runtime-dir={tmp_path}/m",
        f"--admin=unix:{tmp_path}/m.admin",
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        await process.communicate()


async def cluster_becomes(cloud: RunningCloud, status: str, within: float) -> float:
    """Seconds until the cluster has that status."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(within):
        while True:
            clusters = await cloud.ok("GET", "/clusters")
            if clusters["clusters"][0]["status"] == status:
                return loop.time() - begun
            await asyncio.sleep(0.1)


@pytest.mark.e2e
async def test_a_frozen_manager_makes_its_cluster_not_ready_and_ready_again(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud, manager_process(cloud, tmp_path) as manager:
        await cluster_becomes(cloud, "ready", 20)
        manager.send_signal(signal.SIGSTOP)
        await cluster_becomes(cloud, "not_ready", LOSS_SECONDS + 1)
        manager.send_signal(signal.SIGCONT)
        await cluster_becomes(cloud, "ready", 10)
