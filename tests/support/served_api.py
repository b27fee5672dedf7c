"""The API behind the bridge on a real socket, and the command line run against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from lapdev.cloud.asgi import AsgiBridge
from lapdev.net.http_server import HttpServer
from lapdev.net.tasks import Tasks
from tests.support.api import TOKEN, ApiRig, api_rig
from tests.support.raw import listening


@dataclass
class ServedApi:
    """An API that commands can reach."""

    rig: ApiRig
    port: int
    home: Path

    @property
    def server(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environ(self, **more: str) -> dict[str, str | None]:
        """A user's environment with nothing of the real one that the commands look at."""
        clean = dict.fromkeys(
            ("LAPDEV_TOKEN_FILE", "LAPDEV_ENVIRONMENT", "LAPDEV_STATE_DIR", "XDG_CONFIG_HOME")
        )
        home = str(self.home)
        given = {"LAPDEV_SERVER": self.server, "LAPDEV_TOKEN": TOKEN, "HOME": home}
        return {**clean, "XDG_DATA_HOME": home, "XDG_STATE_HOME": home, **given, **more}

    async def run(self, group: click.Command, *words: str, **environ: str) -> Result:
        """The result of a command line; it runs in a thread, as the API needs the loop."""
        env = self.environ(**environ)
        return await asyncio.to_thread(CliRunner().invoke, group, list(words), env=env)

    async def json(self, group: click.Command, *words: str, **environ: str) -> Any:
        """What a command prints with --json, when it succeeds."""
        result = await self.run(group, *words, "--json", **environ)
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)


@asynccontextmanager
async def served_api(folder: Path) -> AsyncIterator[ServedApi]:
    """The API on a free port of 127.0.0.1."""
    # A command that runs in a thread has standard output for itself: asyncio's remarks on a slow
    # machine would be taken for what it printed.
    asyncio.get_running_loop().slow_callback_duration = 60.0
    async with api_rig(folder) as rig, Tasks() as tasks:
        server = HttpServer(AsgiBridge(rig.app, tasks).handle)
        async with listening(server.connection) as port:
            yield ServedApi(rig, port, folder)
        await server.aclose()
