"""`lapdev expose` as people use it: the real program, a cloud of its own, and its restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lapdev.cloud.tcp_previews import TcpRange
from tests.cloud.test_tcp_previews import free_ports
from tests.support.raw import answer_every_request, recording_app

pytestmark = pytest.mark.e2e

PATIENCE = 30.0


@dataclass
class Server:
    """Where the cloud of this test is, whether it runs or not."""

    folder: Path
    port: int
    raw: TcpRange

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environ(self) -> dict[str, str]:
        known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        token = str(self.folder / "token")
        state = str(self.folder / "state")
        return known | {
            "LAPDEV_SERVER": self.url,
            "LAPDEV_TOKEN_FILE": token,
            "XDG_STATE_HOME": state,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lapdev", "serve", "--role=cloud", "--admin="),
            *(f"--listen=127.0.0.1:{self.port}", f"--tcp-previews={self.raw}"),
            *(f"--data-dir={self.folder}/data", f"--bootstrap-token-file={self.folder}/token"),
            f"--ready-fd={writing}",
            pass_fds=[writing],
            stderr=DEVNULL,
        )
        os.close(writing)
        ready = await asyncio.get_running_loop().run_in_executor(None, os.read, reading, 16)
        os.close(reading)
        assert ready == b"ready\n"
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)


class Expose:
    """A running `lapdev expose --json`."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def event(self, name: str) -> Any:
        """The next event of that name."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.process.stdout.readline()
                assert line, "it has ended"
                found = json.loads(line)
                if found["event"] == name:
                    return found


@asynccontextmanager
async def exposed(server: Server, *words: str) -> AsyncIterator[Expose]:
    """Ended with Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lapdev", "expose", *words, "--json"),
        env=server.environ(),
        stdout=PIPE,
    )
    try:
        yield Expose(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0


async def fetch(server: Server, url: str, path: str) -> httpx.Response:
    """As a browser does whose resolver knows that *.localhost is this machine."""
    host = httpx.URL(url).netloc.decode()
    async with httpx.AsyncClient(timeout=PATIENCE) as browser:
        return await browser.get(f"{server.url}{path}", headers={"host": host})


async def test_a_url_and_a_port_that_outlive_a_killed_cloud(tmp_path: Path) -> None:
    ports = free_ports(4)
    server = Server(tmp_path, ports.first, TcpRange(ports.host, ports.first + 1, ports.last))
    async with (
        recording_app(answer_every_request) as app,
        server.running() as cloud,
        exposed(server, f"127.0.0.1:{app.port}") as http,
        exposed(server, str(app.port), "--tcp") as raw,
    ):
        url = (await http.event("exposed"))["url"]
        place = (await raw.event("exposed"))["url"]
        assert (await fetch(server, url, "/one")).text == "GET /one HTTP/1.1"
        seen = await http.event("request")
        assert (seen["method"], seen["path"], seen["status"]) == ("GET", "/one", 200)
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.get(place.replace("tcp://", "http://") + "/two")
        assert answer.text == "GET /two HTTP/1.1"

        cloud.kill()
        await cloud.wait()
        await http.event("disconnected")
        async with server.running():
            assert (await http.event("exposed"))["url"] == url
            assert (await raw.event("exposed"))["url"] == place
            assert (await fetch(server, url, "/three")).text == "GET /three HTTP/1.1"
            http.process.send_signal(signal.SIGINT)
            await http.process.wait()
            assert (await fetch(server, url, "/four")).status_code == 404


async def test_what_is_wrong_is_said_on_one_line(tmp_path: Path) -> None:
    ports = free_ports(1)
    server = Server(tmp_path, ports.first, ports)
    async with server.running():
        (tmp_path / "token").write_text("wrong\n")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lapdev", "expose", "1"),
            env=server.environ(),
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    last = err.decode().splitlines()[-1]
    assert last.startswith("lapdev: ")
    assert "does not take this token" in last
