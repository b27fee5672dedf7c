"""Dialling through a proxy, which may want a password, lie, or be gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.errors import ConnectFailed
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial, listen
from lapdev.net.proxy_connect import connect_through
from lapdev.net.tls import ServerCertificate
from lapdev.net.way_out import ProxyAddress, WayOut
from tests.net.test_tls import Echo, Server
from tests.support.certificates import Certificate, make_authority, make_certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proxy")
    make_certificate(make_authority(folder), folder, "server", "DNS:cloud.example,DNS:localhost")
    return folder


def server_of(folder: Path) -> ServerCertificate:
    pair = Certificate(folder / "server.crt", folder / "server.key")
    return ServerCertificate(str(pair.cert), str(pair.key))


class ConnectProxy:
    """A proxy that lets everybody who has the password through to one place."""

    def __init__(self, to: int = 0, answer: bytes = b"", password: str = "") -> None:
        self.requests: list[bytes] = []
        self.open = 0
        self.closed = asyncio.Event()
        self._to = to
        self._answer = answer
        self._password = password.encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.open -= 1
            self.closed.set()

    async def all_closed(self) -> None:
        while self.open:
            self.closed.clear()
            await self.closed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request)
        answer = self._answer
        if not answer:
            known = b"Proxy-Authorization: Basic " + self._password in request
            answer = b"HTTP/1.1 200 OK\r\n\r\n" if known else b"HTTP/1.1 407 No\r\n\r\n"
        writer.write(answer)
        if answer == b"HTTP/1.1 200 OK\r\n\r\n" and self._to:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(copy(reader, back), copy(there, writer))
            with contextlib.suppress(OSError):
                await back.wait_closed()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def running(proxy: ConnectProxy, folder: Path | None = None) -> AsyncIterator[ProxyAddress]:
    context = server_of(folder).context if folder is not None else None
    server = await asyncio.start_server(proxy.serve, "localhost", 0, ssl=context, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    try:
        yield ProxyAddress("localhost", port, folder is not None, "Basic bWU6cEBzcw==")
    finally:
        server.close()
        await proxy.all_closed()
        await server.wait_closed()


@asynccontextmanager
async def target(folder: Path | None = None) -> AsyncIterator[int]:
    context = server_of(folder).context if folder is not None else None
    listener = await listen("127.0.0.1:0", Server, tls=context)
    assert isinstance(listener.address, TcpAddress)
    try:
        yield listener.address.port
    finally:
        await listener.aclose()


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_connection_goes_through_with_tls_to_either(
    folder: Path, proxy_tls: bool, tls: bool
) -> None:
    way = WayOut(str(folder / "authority.crt"))
    async with target(folder if tls else None) as port:
        proxy = ConnectProxy(port, password="bWU6cEBzcw==")
        async with running(proxy, folder if proxy_tls else None) as address:
            wanted = TcpAddress("cloud.example", 443, tls)
            transport, echo = await connect_through(address, wanted, way, Echo)
            transport.write(b"x" * 100_000)
            while len(echo.data) < 100_000:
                echo.got.clear()
                await echo.got.wait()
            transport.close()
            await echo.lost.wait()
            assert proxy.requests[0].startswith(
                b"CONNECT cloud.example:443 HTTP/1.1\r\nHost: cloud.example:443\r\n"
            )


@pytest.mark.parametrize(
    ("answer", "text", "hint"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407", "name and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403", "NO_PROXY"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502", ""),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "200", "sign-in page"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP/1.1", "HTTPS_PROXY"),
        (b"x" * 20_000, "not HTTP/1.1", "HTTPS_PROXY"),
        (b"HTTP/1.1 200 O", "closed the connection", ""),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_says_so(
    answer: bytes, text: str, hint: str
) -> None:
    async with running(ConnectProxy(answer=answer)) as address:
        with pytest.raises(ConnectFailed, match=text) as caught:
            await connect_through(address, TcpAddress("cloud.example", 443, True), WayOut(), Echo)
        assert hint in caught.value.hint
        assert "bWU6" not in str(caught.value) + caught.value.hint


async def test_a_proxy_that_is_gone_is_named() -> None:
    async with running(ConnectProxy()) as address:
        pass
    with pytest.raises(ConnectFailed, match="the proxy localhost:"):
        await connect_through(address, TcpAddress("cloud.example", 443), WayOut(), Echo)


async def test_the_server_behind_the_proxy_must_be_who_it_says(folder: Path) -> None:
    async with target(folder) as port:
        proxy = ConnectProxy(port, password="bWU6cEBzcw==")
        async with running(proxy) as address:
            wanted = TcpAddress("other.example", 443, True)
            way = WayOut(str(folder / "authority.crt"))
            with pytest.raises(ConnectFailed, match="through the proxy") as caught:
                await connect_through(address, wanted, way, Echo)
            assert "a name that" in caught.value.hint


async def test_dial_takes_the_proxy_of_its_way_out() -> None:
    async with target() as port:
        proxy = ConnectProxy(port, password="bWU6cEBzcw==")
        async with running(proxy) as address:
            url = f"http://me:p%40ss@{address}"
            transport, echo = await dial(
                "http://cloud.example", Echo, WayOut.from_environ({"http_proxy": url})
            )
            transport.write(b"hi")
            await echo.got.wait()
            transport.close()
            await echo.lost.wait()
            assert echo.data == b"hi"
