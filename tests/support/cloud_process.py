"""`lapdev serve --role cloud` as a child process of a test, which stands in for its managers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.running_cloud import RunningCloud

STEP_TIMEOUT = 30.0


@dataclass
class CloudProcess:
    """One process of the role; two may serve from one folder for a while."""

    process: asyncio.subprocess.Process
    log: Path
    ready: bool = False

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def events(self) -> list[str]:
        return [str(line["event"]) for line in self.lines()]

    @property
    def port(self) -> int:
        """Of the public listener."""
        started = next(line for line in self.lines() if line["event"] == "role_started")
        return int(str(started["target"]).rpartition(":")[2])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(STEP_TIMEOUT + 10):
            return await self.process.wait()


async def start_cloud(folder: Path, name: str, *flags: str) -> CloudProcess:
    """It has said that it serves, or has ended."""
    reading, writing = os.pipe()
    log = folder / f"{name}.log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAPDEV_")}
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lapdev", "serve", "--role", "cloud"),
            *("--listen=127.0.0.1:0", f"--data-dir={folder}/data", f"--admin=unix:{folder}/a.sock"),
            *(f"--internal-listen=unix:{folder}/c.sock", f"--cluster-token-file={folder}/cluster"),
            *(f"--bootstrap-token-file={folder}/bootstrap", "--log-level=info"),
            *(f"--ready-fd={writing}", *flags),
            pass_fds=(writing,),
            stderr=file,
            env=kept,
        )
    os.close(writing)
    loop = asyncio.get_running_loop()
    said: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(reading, lambda: said.done() or said.set_result(os.read(reading, 16)))
    try:
        async with asyncio.timeout(STEP_TIMEOUT):
            return CloudProcess(process, log, await said == b"ready\n")
    finally:
        loop.remove_reader(reading)
        os.close(reading)


@contextlib.asynccontextmanager
async def cloud_process(folder: Path, *flags: str) -> AsyncIterator[CloudProcess]:
    """The first of them; whatever it has become, it is gone afterwards."""
    cloud = await start_cloud(folder, "first", *flags)
    try:
        yield cloud
    finally:
        await killed(cloud)


async def killed(cloud: CloudProcess) -> None:
    with contextlib.suppress(ProcessLookupError):
        cloud.process.kill()
    await cloud.process.wait()


@contextlib.asynccontextmanager
async def api_of(folder: Path) -> AsyncIterator[RunningCloud]:
    """The way in for a test: through the internal socket, whichever process has it."""
    token = (folder / "bootstrap").read_text().strip()
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=f"{folder}/c.sock"),
        base_url="http://127.0.0.1",
        headers={"authorization": f"Bearer {token}"},
        timeout=STEP_TIMEOUT,
    ) as api:
        cluster_token = (folder / "cluster").read_text().strip()
        yield RunningCloud(f"unix:{folder}/c.sock", token, cluster_token, api)
