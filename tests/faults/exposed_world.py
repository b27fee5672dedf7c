"""A world without a cluster: a cloud, and on a laptop the application and `lapdev expose`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults import application
from tests.faults.client import Doors
from tests.faults.world import LINK_PORT, PORT, Tenant, World, cloud_role
from tests.support.needs import PROJECT

LAPTOP = "127.0.0.9"
"""Where the application listens."""
PATIENCE = 30.0


@asynccontextmanager
async def exposed_world() -> AsyncIterator[World]:
    """Three exposures, each with a tunnel of its own, all of which faults hit."""
    with tempfile.TemporaryDirectory(prefix="ldf-", dir="/tmp") as name:
        folder = Path(name)
        made = World(folder, cloud_role(folder, "none"))
        tenant = Tenant("main", folder, None)
        made.tenants["main"] = tenant
        started: list[Process] = []
        try:
            await made.cloud.start()
            started.append(await _application(tenant))
            urls = []
            for port in (application.HTTP_PORT, application.WEBSOCKET_PORT, application.TCP_PORT):
                words = ["--tcp"] if port == application.TCP_PORT else []
                process = await _expose(made, port, words)
                started.append(process)
                made.dialling.append(process.pid)
                urls.append(urlsplit(await _url(process)))
            http, websocket, raw = urls
            place = (str(raw.hostname), int(raw.port or 0))
            tenant.doors = Doors(("127.0.0.1", PORT), http.netloc, websocket.netloc, place)
            made.link_up = made.serves
            await made.wait_serving()
            async with _read_on(started[1:]):
                yield made
        finally:
            for process in reversed(started):
                if process.returncode is None:
                    process.terminate()
                    await process.wait()
            await made.aclose()


async def _application(tenant: Tenant) -> Process:
    environ = {"POD_IP": LAPTOP, "JOURNAL": str(tenant.journal), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-P", "-m", "tests.faults.application"]
    return await asyncio.create_subprocess_exec(*command, env=os.environ | environ)


async def _expose(made: World, port: int, words: list[str]) -> Process:
    environ = {
        "LAPDEV_SERVER": f"http://127.0.0.1:{LINK_PORT}",
        "LAPDEV_TOKEN_FILE": str(made.folder / "token"),
        "HOME": str(made.folder),
        "XDG_STATE_HOME": str(made.folder / "laptop"),
    }
    command = [sys.executable, "-P", "-m", "lapdev", "expose", f"{LAPTOP}:{port}", "--json", *words]
    with (made.folder / "expose.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, env=os.environ | environ, stdout=PIPE, stderr=log, limit=2**20
        )


async def _url(process: Process) -> str:
    """As its first words say."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while line := await process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "exposed":
                return str(event["url"])
    raise RuntimeError("`lapdev expose` has ended")


@asynccontextmanager
async def _read_on(processes: list[Process]) -> AsyncIterator[None]:
    """What else they say is read and dropped: nobody waits for a full pipe."""

    async def drop(process: Process) -> None:
        assert process.stdout is not None
        while await process.stdout.read(65_536):
            pass

    async with asyncio.TaskGroup() as group:
        dropping = [group.create_task(drop(each)) for each in processes]
        try:
            yield
        finally:
            for task in dropping:
                task.cancel()
