"""A developer's machine, as the checks play it: `devbox connect` and a local API, as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from lapdev.demo import shop
from lapdev.demo.stage import Stage
from lapdev.errors import ClusterError

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


class Laptop:
    """Connected to an environment, with a version `laptop` of the API on a local port.

    The local API runs under `devbox run`, so it reaches the search service by its in-cluster name.
    """

    def __init__(self, stage: Stage, home: Path, environment: str) -> None:
        self.device = ""
        self.port = 0
        self._stage = stage
        self._home = home
        self._environment = environment
        self._connect: asyncio.subprocess.Process | None = None
        self._program: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._start_link()
                await self._start_program()
        except TimeoutError as exc:
            await self._stop()
            raise ClusterError("the laptop's link or program did not start in time") from exc
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    async def kill_link(self) -> None:
        """The machine is gone from the network, without a goodbye."""
        assert self._connect is not None
        self._connect.kill()
        await self._connect.wait()

    async def stop_program(self) -> None:
        """Nothing listens on the local port any more; the link stays."""
        assert self._program is not None
        await _end(self._program)

    # Inside

    async def _start_link(self) -> None:
        words = ("devbox", "connect", "--json", "--environment", self._environment)
        self._connect = await self._lapdev(*words, output=asyncio.subprocess.PIPE)
        assert self._connect.stdout is not None
        while line := await self._connect.stdout.readline():
            status = json.loads(line)
            if status["connected"]:
                self.device = status["device"]
                return
        raise ClusterError("`devbox connect` ended before it was connected")

    async def _start_program(self) -> None:
        self.port = _free_port()
        program = str(shop.folder() / "apps" / "api.py")
        words = ("devbox", "run", "--", sys.executable, program)
        self._program = await self._lapdev(*words, output=asyncio.subprocess.DEVNULL)
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                await writer.wait_closed()
                return
            if self._program.returncode is not None:
                raise ClusterError(f"the local API ended with code {self._program.returncode}")
            await asyncio.sleep(0.02)

    async def _lapdev(self, *words: str, output: int) -> asyncio.subprocess.Process:
        environment = {
            **os.environ,
            "LAPDEV_SERVER": self._stage.server,
            "LAPDEV_TOKEN_FILE": str(self._stage.token_file),
            "XDG_STATE_HOME": str(self._home),
            "VERSION": "laptop",
            "POD_IP": "127.0.0.1",
            "PORT": str(self.port),
            "REDIS_URL": "redis://127.0.0.1:1/0",  # none on the laptop
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "lapdev", *words),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            start_new_session=True,
        )

    async def _stop(self) -> None:
        for process in (self._program, self._connect):
            if process is not None:
                await _end(process)
        shutil.rmtree(self._home, ignore_errors=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
