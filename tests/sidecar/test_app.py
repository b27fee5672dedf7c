"""The sidecar as a process: serves without a manager, is small, starts fast, stops cleanly."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from lapdev.cluster.driver import SidecarLaunch
from lapdev.errors import ConfigError
from lapdev.model import Protocol, SidecarPort
from lapdev.sidecar.app import Sidecar
from tests.support.raw import AppConnection, RawClient, answer_every_request, connect, recording_app
from tests.support.sidecar import IDENTITY, NO_MANAGER, SERVICE_PORT, launch, running
from tests.support.sidecar_process import sidecar_process
from tests.support.unused import unused_port

GET = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n"
IDLE_KIB = 36 * 1024


def document(
    app_port: int, folder: Path, protocol: Protocol = Protocol.UNDECLARED
) -> SidecarLaunch:
    port = SidecarPort(unused_port(), SERVICE_PORT, app_port, "api", protocol)
    admin = f"unix:{folder}/admin"
    return SidecarLaunch(IDENTITY, (port,), NO_MANAGER, "t", bind_host="127.0.0.1", admin=admin)


async def scrape(admin: str, path: str) -> tuple[int, dict[str, str], bytes]:
    where = admin.removeprefix("unix:")
    reader, writer = await (
        asyncio.open_unix_connection(where)
        if admin.startswith("unix:")
        else asyncio.open_connection(*admin.rsplit(":", 1))
    )
    try:
        client = RawClient(reader, writer)
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return await client.response()
    finally:
        writer.close()
        await writer.wait_closed()


async def first_answer(where: SidecarLaunch) -> bytes:
    async with connect(where.ports[0].proxy_port) as client:
        client.send(GET)
        return (await client.response())[2]


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.slow
async def test_a_process_without_a_manager_serves_is_small_and_stops(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as app:
        where = document(app.port, tmp_path)
        async with sidecar_process(where) as process:
            assert await first_answer(where) == b"GET / HTTP/1.1"
            status, _, metrics = await scrape(where.admin, "/metrics")
            assert status == 200
            assert b'lapdev_sidecar_requests_total{via="app"} 1\n' in metrics
            assert b"lapdev_sidecar_feed_up 0\n" in metrics
            assert resident_kib(process.pid) <= IDLE_KIB
            process.send_signal(signal.SIGTERM)
            _, errors = await asyncio.wait_for(process.communicate(), 10)
            assert process.returncode == 0
    assert b'"event":"exchange_finished"' in errors
    assert b"Traceback" not in errors


@pytest.mark.slow
async def test_a_stopping_sidecar_finishes_the_exchange_it_is_in(tmp_path: Path) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def answers_late(connection: AppConnection) -> None:
        await connection.read_head()
        asked.set()
        await go.wait()
        connection.answer(b"late")

    async with recording_app(answers_late) as app:
        where = document(app.port, tmp_path)
        async with sidecar_process(where) as process, connect(where.ports[0].proxy_port) as client:
            client.send(GET)
            await asked.wait()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                while (await scrape(where.admin, "/readyz"))[0] == 200:
                    pass
            go.set()
            _, headers, body = await client.response()
            assert (body, headers["connection"]) == (b"late", "close")
            await asyncio.wait_for(process.wait(), 10)
            assert process.returncode == 0


async def test_metrics_and_readiness_are_served() -> None:
    async with recording_app(answer_every_request) as app, running(launch(app.port)) as sidecar:
        async with connect(sidecar.addresses[0]) as client:
            client.send(GET)
            await client.response()
            _, _, metrics = await scrape(sidecar.admin.address, "/metrics")
            assert b"lapdev_sidecar_open_connections 1\n" in metrics
            assert b"lapdev_sidecar_routes_generation 0\n" in metrics
        assert (await scrape(sidecar.admin.address, "/readyz"))[0] == 200
        await sidecar.drain()
        assert (await scrape(sidecar.admin.address, "/readyz"))[0] == 503


async def test_a_port_that_is_taken_is_named_and_nothing_stays_open() -> None:
    async with recording_app(answer_every_request) as app:
        good, taken = SidecarPort(0, 80, app.port, "api"), SidecarPort(app.port, 81, 1, "api")
        document = SidecarLaunch(
            IDENTITY, (good, taken), NO_MANAGER, "t", bind_host="127.0.0.1", admin=""
        )
        with pytest.raises(ConfigError, match=str(app.port)):
            async with Sidecar(document, ""):
                pass
