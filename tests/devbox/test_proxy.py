from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.devbox.app import Devbox
from tests.support.devbox import connected_devbox
from tests.support.devbox_cloud import devbox_cloud
from tests.support.raw import (
    AppConnection,
    RecordingApp,
    connect,
    recording_app,
)

SOCKS_HELLO = b"\x05\x01\x00"


async def echo(connection: AppConnection) -> None:
    """Answers whatever comes, in capitals, and ends its direction when the peer does."""
    while data := await connection.reader.read(4096):
        connection.send(data.upper())
    connection.writer.write_eof()


def socks_request(host: str, port: int) -> bytes:
    name = host.encode()
    return b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big")


@pytest.fixture
async def app() -> AsyncIterator[RecordingApp]:
    async with recording_app(echo) as app:
        yield app


@pytest.fixture
async def devbox(app: RecordingApp, tmp_path: Path) -> AsyncIterator[Devbox]:
    """Port 8080 is `api`, which answers; port 5432 is `db`, where nothing listens."""
    async with (
        devbox_cloud(p8080=app.address) as cloud,
        connected_devbox(cloud, tmp_path) as devbox,
    ):
        yield devbox


@pytest.mark.parametrize("host", ["api", "API.ns-shop", "api.ns-shop.svc.cluster.local."])
async def test_connect_reaches_a_service_by_any_of_its_names(devbox: Devbox, host: str) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(f"CONNECT {host}:8080 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        client.send(b"over the tunnel")
        assert await client.read_exactly(15) == b"OVER THE TUNNEL"


async def test_bytes_that_follow_the_connect_head_at_once_are_for_the_service(
    devbox: Devbox,
) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(b"CONNECT api:8080 HTTP/1.1\r\n\r\nearly")
        await client.read_until(b"\r\n\r\n")
        assert await client.read_exactly(5) == b"EARLY"


async def test_a_half_close_reaches_the_service_and_comes_back(devbox: Devbox) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(b"CONNECT api:8080 HTTP/1.1\r\n\r\nlast words")
        client.writer.write_eof()
        await client.read_until(b"\r\n\r\n")
        assert await client.read_rest() == b"LAST WORDS"


@pytest.mark.parametrize("cut", range(1, 28))
async def test_a_connect_in_two_pieces_is_understood(devbox: Devbox, cut: int) -> None:
    request = b"CONNECT api:8080 HTTP/1.1\r\n\r\n"
    async with connect(devbox.proxy_address) as client:
        client.send(request[:cut])
        await client.writer.drain()
        await asyncio.sleep(0)
        client.send(request[cut:])
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("target", "cause", "words"),
    [
        ("example.com:443", "no_route", "known here: api, db"),
        ("api.other:8080", "no_route", "known here: api, db"),
        ("api:22", "no_route", "its ports: 8080"),
        ("127.0.0.1:8080", "no_route", "known here: api, db"),
        ("db:5432", "connect_failed", "nothing listens there"),
        ("api", "no_route", "like api:8080"),
        ("user@api:8080", "no_route", "like api:8080"),
    ],
)
async def test_a_connect_that_cannot_be_is_502_and_says_why(
    devbox: Devbox, target: str, cause: str, words: str
) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        status, headers, body = await client.response()
        assert status == 502
        assert headers["lapdev-error"] == f"{cause}; hop=devbox"
        assert words in body.decode()
        assert await client.read_rest() == b""


async def test_an_endless_connect_head_is_cut_off(devbox: Devbox) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(b"CONNECT api:8080 HTTP/1.1\r\n" + b"x: y\r\n" * 4000)
        assert await client.read_rest() == b""


async def test_socks_reaches_a_service_by_its_name(devbox: Devbox) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(SOCKS_HELLO)
        assert await client.read_exactly(2) == b"\x05\x00"
        client.send(socks_request("api", 8080) + b"early")
        assert (await client.read_exactly(10))[1] == 0
        assert await client.read_exactly(5) == b"EARLY"


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (socks_request("example.com", 443), 4),
        (socks_request("api", 22), 4),
        (socks_request("db", 5432), 5),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", 8),
        (b"\x05\x02\x00\x03\x03api\x1f\x90", 7),
    ],
)
async def test_socks_refuses_in_its_own_words(
    devbox: Devbox, app: RecordingApp, request_bytes: bytes, code: int
) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(SOCKS_HELLO + request_bytes)
        assert (await client.read_rest())[2:4] == bytes((5, code))
    assert not app.connections


@pytest.mark.parametrize("garbage", [b"\x05\x01\x02", b"\x05\x01\x00\x04\x01\x00\x03\x01a\x00\x50"])
async def test_broken_socks_is_cut_off(devbox: Devbox, garbage: bytes) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(garbage)
        assert (await client.read_rest()).removeprefix(b"\x05\x00") == b""


async def test_closing_the_devbox_cuts_what_is_open(devbox: Devbox) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(b"CONNECT api:8080 HTTP/1.1\r\n\r\n")
        await client.read_until(b"\r\n\r\n")
        await devbox.aclose()
        assert await client.read_rest() == b""
