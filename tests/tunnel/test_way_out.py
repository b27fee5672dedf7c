"""An uplink through what stands between it and the cloud: a proxy, a sign-in page, TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.errors import ConnectFailed, TunnelRefused
from lapdev.net.listener import listen
from lapdev.net.tasks import Tasks
from lapdev.net.tls import certificate_of
from lapdev.net.way_out import WayOut
from lapdev.tunnel import Uplink, UplinkOptions
from tests.net.test_proxy_connect import ConnectProxy, running
from tests.support.certificates import make_authority, make_certificate
from tests.support.tunnel_ends import FAST, Acceptor, Watcher

PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 30\r\n\r\n"
    b"<html>Welcome to the Grand Hotel"
)


@asynccontextmanager
async def dialling(address: str, way: WayOut) -> AsyncIterator[Uplink]:
    options = UplinkOptions(address, "/t", "s3cret", "manager", "i", way=way, tunnel=FAST)
    uplink = Uplink(options, Watcher())
    async with Tasks() as tasks:
        tasks.spawn(uplink.run(), "uplink")
        yield uplink


async def first_error(uplink: Uplink) -> Exception:
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    uplink.on_failed = lambda error: failed.done() or failed.set_result(error)
    async with asyncio.timeout(5):
        return await failed


async def test_a_tunnel_goes_through_a_proxy_with_a_password(tmp_path: Path) -> None:
    acceptor = Acceptor("127.0.0.1:0", FAST)
    await acceptor.start()
    assert acceptor._listener is not None
    port = int(str(acceptor._listener.address).rpartition(":")[2])
    proxy = ConnectProxy(port, password="bWU6cEBzcw==")
    async with running(proxy) as address:
        way = WayOut.from_environ({"HTTP_PROXY": f"http://me:p%40ss@{address}"})
        async with dialling("http://cloud.example:8080", way) as uplink, asyncio.timeout(5):
            assert (await uplink.wait_up()).connected
        await acceptor.aclose()
    assert b"CONNECT cloud.example:8080 " in proxy.requests[0]
    assert b"s3cret" not in proxy.requests[0]


async def test_a_sign_in_page_in_place_of_the_cloud_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PAGE)
        writer.close()

    portal = await asyncio.start_unix_server(serve, f"{tmp_path}/p")
    async with dialling(f"unix:{tmp_path}/p", WayOut()) as uplink:
        error = await first_error(uplink)
    portal.close()
    await portal.wait_closed()
    assert isinstance(error, TunnelRefused)
    assert error.answer_status == 200
    assert "sign-in page" in error.hint
    told = "".join(capsys.readouterr())
    assert "sign-in page" in told
    assert "Grand Hotel" not in told


async def test_a_certificate_nobody_knows_names_the_setting(tmp_path: Path) -> None:
    made = make_certificate(make_authority(tmp_path), tmp_path, "server")
    tls = certificate_of(str(made.cert), str(made.key))
    listener = await listen("127.0.0.1:0", asyncio.Protocol, tls=tls)
    async with dialling(f"https://{listener.address}", WayOut()) as uplink:
        error = await first_error(uplink)
    await listener.aclose()
    assert isinstance(error, ConnectFailed)
    assert "--ca-file" in error.hint
