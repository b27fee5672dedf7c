"""One process of the product: started, asked, stopped, looked at."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.faults.checker import Probe
from tests.support.memory_group import MemoryGroup
from tests.support.packet_path import End

READY_TIMEOUT = 60.0
PROBE_TIMEOUT = 30.0
OPEN_GAUGES = ("connections", "streams", "tcp_connections", "tunnels", "sidecars")
"""What comes and goes with the load, of each role's metrics."""


@dataclass(slots=True)
class Role:
    """`lapdev serve --role NAME`, again and again."""

    name: str
    """For us: two managers have two names."""
    folder: Path
    flags: list[str]
    admin: str
    """Path of its admin socket."""
    words: tuple[str, ...] = ("serve",)
    place: End | None = None
    """Another network namespace than the rig's."""
    memory: MemoryGroup | None = None
    """How much memory it may use."""
    process: Process | None = None
    away: list[tuple[float, float]] = field(default_factory=list)
    """When it could not answer, because we had stopped or killed it."""
    _away_since: float = 0.0
    _client: httpx.AsyncClient | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    async def start(self, *more: str) -> None:
        """It serves."""
        reading, writing = os.pipe()
        command = [sys.executable, "-P", "-m", "lapdev", *self.words, *self.flags, *more]
        if self.place is not None:
            command = self.place.command(command)
        if self.memory is not None:
            command = self.memory.command(command)
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                "--ready-fd",
                str(writing),
                env=self._environ(),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        loop = asyncio.get_running_loop()
        with os.fdopen(reading, "rb") as pipe:
            async with asyncio.timeout(READY_TIMEOUT):
                said = await loop.run_in_executor(None, pipe.readline)
        if said != b"ready\n":
            raise RuntimeError(f"{self.name} did not start: {self.log_file.read_text()[-2000:]}")
        self._is_back()

    def _environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAPDEV_", "XDG_"))}
        return kept | {"HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}

    # What is done to it

    async def kill(self) -> None:
        """SIGKILL; it has ended."""
        self._goes_away()
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self, timeout: float = 60.0) -> tuple[int, float]:
        """SIGTERM; its exit code, and the seconds it took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.terminate()
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
        self._goes_away()
        return code, time.monotonic() - begun

    def freeze(self) -> None:
        self._goes_away()
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self._is_back()

    def _goes_away(self) -> None:
        self._away_since = self._away_since or time.monotonic()

    def _is_back(self) -> None:
        if self._away_since:
            self.away.append((self._away_since, time.monotonic() + 0.2))
            self._away_since = 0.0

    async def end(self) -> None:
        """It is gone, and its log is complete. Idempotent."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            async with asyncio.timeout(40):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    # What it tells

    @property
    def answers(self) -> bool:
        """It runs, and we have not stopped it."""
        return not self._away_since and self.process is not None and self.process.returncode is None

    async def metrics(self) -> dict[str, float]:
        """Name (with labels) → value."""
        answer = await self._admin().get("http://role/metrics")
        lines = (line for line in answer.text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def ready(self) -> bool:
        try:
            return (await self._admin().get("http://role/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def probe(self) -> Probe:
        """How long its loop takes to answer."""
        begun = time.monotonic()
        await self._admin().get("http://role/livez")
        return Probe(self.name, begun, time.monotonic() - begun)

    async def look(self) -> Probe:
        """Its memory, descriptors and what it has open."""
        values = await self.metrics()
        probe = await self.probe()
        probe.rss = int(values["process_resident_memory_bytes"])
        probe.fds = int(values["process_open_fds"])
        names = {f"lapdev_{name}" for name in OPEN_GAUGES}
        probe.counts = {name: value for name, value in values.items() if name in names}
        return probe

    def _admin(self) -> httpx.AsyncClient:
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(uds=self.admin)
            self._client = httpx.AsyncClient(transport=transport, timeout=PROBE_TIMEOUT)
        return self._client

    def log(self) -> list[dict[str, object]]:
        """Its lines that are JSON; others are under `event` as they are."""
        lines: list[dict[str, object]] = []
        if not self.log_file.exists():
            return lines
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append(
                    {"event": line, "traceback": line} if "Traceback" in line else {"event": line}
                )
        return lines
