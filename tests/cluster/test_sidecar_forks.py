"""Sidecars as copies of one process: they serve, end alone, and are told from each other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.cluster.driver import SidecarLaunch
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.spawner import Child, Spawner
from lapdev.errors import ClusterError
from lapdev.model import Protocol, SidecarPort
from tests.sidecar.test_app import first_answer
from tests.support.raw import answer_every_request, recording_app
from tests.support.sidecar import IDENTITY, NO_MANAGER, SERVICE_PORT
from tests.support.sidecar_process import document_pipe
from tests.support.unused import unused_port

ARGV = [sys.executable, "-P", "-m", "lapdev", "serve", "--role", "sidecar"]
WAIT = 20.0

pytestmark = pytest.mark.slow


@asynccontextmanager
async def forks() -> AsyncIterator[SidecarForks]:
    spawner = Spawner(sys.executable, isolation=False)
    await spawner.start()
    made = SidecarForks(spawner, ARGV)
    try:
        yield made
    finally:
        await made.aclose()
        await spawner.aclose()


def launch_of(app_port: int, folder: Path, number: int = 0) -> SidecarLaunch:
    port = SidecarPort(unused_port(), SERVICE_PORT, app_port, "api", Protocol.UNDECLARED)
    admin = f"unix:{folder}/admin{number}"
    return SidecarLaunch(IDENTITY, (port,), NO_MANAGER, "t", bind_host="127.0.0.1", admin=admin)


async def start(made: SidecarForks, launch: SidecarLaunch) -> Child:
    """A sidecar that serves."""
    document, output = document_pipe(launch), os.open(os.devnull, os.O_WRONLY)
    try:
        sidecar = await made.start(document, output)
    finally:
        os.close(document)
        os.close(output)
    async with asyncio.timeout(WAIT):
        while True:
            try:
                await first_answer(launch)
                return sidecar
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)


async def test_each_copy_serves_its_own_ports_and_ends_alone(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as app, forks() as made:
        launches = [launch_of(app.port, tmp_path, number) for number in range(3)]
        sidecars = [await start(made, launch) for launch in launches]
        assert len({sidecar.pid for sidecar in sidecars}) == 3
        sidecars[0].signal(signal.SIGKILL)
        assert await sidecars[0].wait() == -signal.SIGKILL
        sidecars[1].signal(signal.SIGTERM)
        assert await sidecars[1].wait() == 0
        assert await first_answer(launches[2]) == b"GET / HTTP/1.1"
        assert [sidecar.running for sidecar in sidecars] == [False, False, True]
        sidecars[2].signal(signal.SIGTERM)
        assert await sidecars[2].wait() == 0


async def test_another_server_takes_the_place_of_a_killed_one(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as app, forks() as made:
        first = await start(made, launch_of(app.port, tmp_path))
        assert made.server_pid
        os.kill(made.server_pid, signal.SIGKILL)
        assert await first.wait() == -signal.SIGKILL, "without isolation it ends with its server"
        launch = launch_of(app.port, tmp_path, 1)
        second = await start(made, launch)
        assert await first_answer(launch) == b"GET / HTTP/1.1"
        second.signal(signal.SIGTERM)
        assert await second.wait() == 0


async def test_a_copy_that_cannot_start_says_why_and_hurts_no_other(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    async with recording_app(answer_every_request) as app, forks() as made:
        empty = os.open(os.devnull, os.O_RDONLY)
        failed = await made.start(empty, write_end)
        os.close(empty)
        os.close(write_end)
        assert await failed.wait() == 1
        with os.fdopen(read_end) as reader:
            assert reader.read() == "lapdev: the launch document is not JSON: " + (
                "sidecars are started by the manager, which hands the document over with "
                "--launch-fd\n"
            )
        sidecar = await start(made, launch_of(app.port, tmp_path))
        sidecar.signal(signal.SIGTERM)
        assert await sidecar.wait() == 0


async def test_without_a_program_there_is_a_clear_error() -> None:
    spawner = Spawner(sys.executable, isolation=False)
    await spawner.start()
    made = SidecarForks(spawner, ["/nonexistent/python"])
    try:
        with pytest.raises(ClusterError, match="sidecar"):
            await made.start(0, 1)
    finally:
        await made.aclose()
        await spawner.aclose()


async def test_a_stopped_server_delays_no_sidecars_end(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as app, forks() as made:
        sidecar = await start(made, launch_of(app.port, tmp_path))
        os.kill(made.server_pid, signal.SIGSTOP)
        try:
            sidecar.signal(signal.SIGTERM)
            assert await asyncio.wait_for(sidecar.wait(), WAIT) == -signal.SIGKILL
        finally:
            os.kill(made.server_pid, signal.SIGCONT)
