"""The TLS listener's first look: HTTP is told where it has come to, silence costs nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.net import tls_server
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial
from lapdev.net.tls import ServerCertificate
from lapdev.net.tls_server import TlsServer
from lapdev.net.way_out import WayOut
from tests.net.test_tls import Echo, Server
from tests.support.certificates import Certificate, make_authority, make_certificate


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(authority, tmp_path_factory.mktemp("server"), "server")


@asynccontextmanager
async def serving(certificate: Certificate) -> AsyncIterator[tuple[TlsServer, int]]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    port = sock.getsockname()[1]
    context = ServerCertificate(str(certificate.cert), str(certificate.key)).context
    server = TlsServer(Server, sock, context)
    try:
        async with asyncio.timeout(20):
            yield server, port
    finally:
        server.close()
        server.close()


async def echoed(port: int, ca: Path, data: bytes) -> asyncio.Transport:
    """An open connection over which `data` came back."""
    transport, echo = await dial(TcpAddress("localhost", port, tls=True), Echo, WayOut(str(ca)))
    transport.write(data)
    while len(echo.data) < len(data):
        echo.got.clear()
        await echo.got.wait()
    assert echo.data == data
    return transport


@pytest.mark.parametrize("request_size", [20, 3_000_000])
async def test_plain_http_is_told_that_this_is_https(
    certificate: Certificate, request_size: int
) -> None:
    async with serving(certificate) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n".ljust(request_size))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"Connection: close" in head
        text = await reader.readline()
        assert text == b"This port speaks HTTPS: write https:// in place of http://.\n"
        assert f"Content-Length: {len(text)}".encode() in head
        writer.close()


async def test_what_is_neither_is_hung_up_on(certificate: Certificate) -> None:
    async with serving(certificate) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\x01")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()


async def test_a_broken_handshake_costs_only_its_own_connection(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01\x00\x05hello" * 10)
        while await reader.read(1000):
            pass  # an alert, and the end
        writer.close()
        (await echoed(port, authority.cert, b"hello")).close()


async def test_who_says_nothing_is_let_go(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_server, "HANDSHAKE_TIMEOUT", 0.05)
    async with serving(certificate) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


async def test_what_was_accepted_goes_on_when_nothing_more_is(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (server, port):
        transport = await echoed(port, authority.cert, b"before")
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        protocol = transport.get_protocol()
        assert isinstance(protocol, Echo)
        protocol.data = b""
        protocol.got.clear()
        transport.write(b"after")
        await protocol.got.wait()
        assert protocol.data == b"after"
        transport.close()


class Full:
    """A listening socket in a process that has no descriptor left, once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.refused = 0

    def accept(self) -> tuple[socket.socket, object]:
        if not self.refused:
            self.refused = 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._sock.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


async def test_without_descriptors_it_looks_again_a_little_later(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (server, port):
        full = Full(server._sock)
        server._sock = full  # type: ignore[assignment]
        (await echoed(port, authority.cert, b"hello")).close()
        assert full.refused
