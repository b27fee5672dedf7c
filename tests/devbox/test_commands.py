from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lapdev.devbox.commands import describe
from lapdev.devbox.state_file import DevboxStatus
from lapdev.errors import NotFound
from tests.support.devbox_cloud import TOKEN, DevboxCloud, devbox_cloud, intercept
from tests.support.raw import answer_every_request, recording_app

pytestmark = pytest.mark.slow

PATIENCE = 30.0


async def lapdev(cloud: DevboxCloud, home: Path, *words: str) -> Process:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"LAPDEV_SERVER": cloud.address, "LAPDEV_TOKEN": TOKEN, "XDG_STATE_HOME": str(home)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lapdev", "devbox", *words, env=environ, stdout=PIPE, stderr=PIPE
    )


async def output(cloud: DevboxCloud, home: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that ends by itself."""
    process = await lapdev(cloud, home, *words)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def connected(cloud: DevboxCloud, home: Path) -> AsyncIterator[Process]:
    """`devbox connect` once it says that it is connected; ended with SIGTERM."""
    process = await lapdev(cloud, home, "connect", "--json", "--environment", "shop")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while not json.loads(await process.stdout.readline())["connected"]:
                pass
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0


async def test_other_commands_see_and_use_a_running_connect(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        devbox_cloud(p8080=app.address) as cloud,
    ):
        cloud.state = replace(cloud.state, intercepts=(intercept(3000),))
        async with connected(cloud, tmp_path):
            code, out, _ = await output(cloud, tmp_path, "status")
            assert code == 0
            assert out.startswith(f"Connected to shop at {cloud.address}\n")
            assert "Takes api:8080 on local port 3000" in out
            code, out, _ = await output(cloud, tmp_path, "services")
            assert (code, out) == (0, "api  8080  (this machine)\ndb  5432\n")
            code, out, _ = await output(cloud, tmp_path, "services", "--json")
            assert [service["name"] for service in json.loads(out)] == ["api", "db"]
            sessions = cloud.started.qsize()
            ask = "import urllib.request as u; print(u.urlopen('http://api:8080/x').read())"
            code, out, err = await output(cloud, tmp_path, "run", "--", sys.executable, "-c", ask)
            assert (code, out) == (0, "b'GET /x HTTP/1.1'\n"), err
            assert cloud.started.qsize() == sessions, "it went through the running connect"
            code, _, err = await output(cloud, tmp_path, "connect", "--environment", "shop")
            assert code == 1
            assert "already connected" in err
            code, out, _ = await output(cloud, tmp_path, "disconnect")
            assert (code, out) == (0, "Disconnected from shop.\n")
        code, out, _ = await output(cloud, tmp_path, "status", "--json")
        assert (code, json.loads(out)) == (3, {"connected": False})


async def test_without_a_connection_each_command_says_what_to_do(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        code, out, _ = await output(cloud, tmp_path, "status")
        assert (code, out) == (3, "Not connected. `lapdev devbox connect` connects.\n")
        code, _, err = await output(cloud, tmp_path, "services")
        assert code == 1
        assert "lapdev devbox connect" in err
        assert await output(cloud, tmp_path, "disconnect") == (0, "Not connected.\n", "")


async def test_run_without_a_connection_has_its_own_session(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        words = ("run", "--environment", "shop", "--", "sh", "-c", "echo $http_proxy; exit 5")
        code, out, _ = await output(cloud, tmp_path, *words)
        assert code == 5
        assert out.startswith("http://127.0.0.1:")
        assert (await cloud.started.get()).environment == "shop"


async def test_what_follows_the_program_is_the_programs(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        code, out, err = await output(cloud, tmp_path, "run", "printf", "%s ", "-e", "--help")
        assert (code, out) == (0, "-e --help "), err
        assert (await cloud.started.get()).environment == ""


async def test_a_refusal_is_told_once(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        cloud.refuse_with = NotFound("there is no environment 'shop'")
        _, out, err = await output(cloud, tmp_path, "connect")
        assert "no environment" not in out
        assert err == "lapdev: there is no environment 'shop'\n"


async def test_an_unknown_environment_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        cloud.refuse_with = NotFound("there is no environment 'shop'", hint="there are: a, b")
        code, out, err = await output(cloud, tmp_path, "run", "--", "true")
        assert (code, out) == (1, "")
        assert err == "lapdev: there is no environment 'shop': there are: a, b\n"


def test_a_refusal_and_a_lost_link_are_described() -> None:
    lost = DevboxStatus(1, "d", "http://s", "127.0.0.1:9", error="connection refused")
    assert describe(lost) == (
        "Connecting to http://s\n"
        "Not connected: connection refused\n"
        "Proxy (HTTP and SOCKS5) on 127.0.0.1:9"
    )
    assert describe(replace(lost, environment="shop")).startswith("The link to shop is down")
