"""An exchange between two peers of which one is odd: early, slow, gone, or not what it said."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.errors import StreamReset
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import dial
from lapdev.wire.http1 import INNER_LIMITS
from tests.net.test_proxy import GET, through
from tests.support.raw import (
    AppConnection,
    answer_every_request,
    connect,
    listening,
    recording_app,
)

UPGRADE = b"Host: app\r\nConnection: Upgrade\r\nUpgrade: echo\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"


async def test_a_switch_in_the_middle_of_the_body_is_502() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(SWITCH)
        await connection.reader.read()

    async with through(script) as (client, _, _role):
        client.send(b"POST / HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 10\r\n\r\nhalf!")
        assert (await client.response())[0] == 502


async def test_a_client_that_half_closed_before_the_switch_is_heard_to_end() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        await asyncio.sleep(0.1)
        connection.send(SWITCH)
        connection.send(b"[" + await connection.reader.read() + b"]")

    async with through(script) as (client, _, _role):
        client.send(b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\nlast words")
        client.writer.write_eof()
        assert (await client.read_rest()).endswith(b"[last words]")


async def test_what_follows_a_declined_upgrade_is_the_next_request_and_was_not_seen() -> None:
    seen: list[bytes] = []

    async def script(connection: AppConnection) -> None:
        seen.append(await connection.read_head())
        await asyncio.sleep(0.05)
        assert not connection.reader._buffer  # type: ignore[attr-defined]
        connection.answer(b"no")
        seen.append(await connection.read_head())
        connection.answer(b"admin")

    async with through(script) as (client, _, _role):
        client.send(
            b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\nGET /admin HTTP/1.1\r\nHost: app\r\n\r\n"
        )
        assert (await client.response())[2] == b"no"
        assert (await client.response())[2] == b"admin"
    assert [head.split(b" ")[1] for head in seen] == [b"/", b"/admin"]


async def test_an_early_refusal_of_an_expected_body_closes_and_the_body_is_no_request() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
        await connection.reader.read()

    body = b"GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n"
    async with through(script) as (client, app, _):
        client.send(
            b"POST / HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        status, headers, _body = await client.response()
        assert (status, headers["connection"]) == (401, "close")
        client.send(body)
        assert await client.read_rest() == b""
    assert len(app.connections) == 1
    assert b"smuggled" not in app.connections[0]


@pytest.mark.parametrize("count", [1, 8, 9, 1_000])
async def test_informational_answers_pass_until_there_are_too_many(count: int) -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * count)
        connection.answer(b"ok")

    async with through(script) as (client, _, _role):
        client.send(GET)
        status, _, _body = await client.response()
        passed = 0
        while status == 103:
            passed += 1
            status, _, _body = await client.response()
        assert (passed, status) == ((count, 200) if count <= 8 else (0, 502))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\nsurplus",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\nsurplus",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\noksurplus",
    ],
)
async def test_surplus_is_dropped_and_the_connection_with_it(answer: bytes) -> None:
    async def script(connection: AppConnection) -> None:
        while True:
            await connection.read_head()
            connection.send(answer)

    async with through(script) as (client, app, _):
        for _ in range(3):
            client.send(GET)
            _, headers, body = await client.response()
            assert b"surplus" not in body
            assert "connection" not in headers
    assert len(app.connections) == 3


async def test_a_connection_whose_app_has_not_read_the_last_request_is_not_reused() -> None:
    async with recording_app(answer_every_request) as app:
        _, upstream = await dial(app.address, lambda: UpstreamConnection(INNER_LIMITS))
        assert upstream.reusable
        upstream.pause_writing()
        assert not upstream.reusable
        upstream.resume_writing()
        assert upstream.reusable
        upstream.close()


async def test_a_peers_word_for_its_error_cannot_split_the_answer() -> None:
    error = StreamReset("gone\r\nx: y")
    error.cause = "a\r\nset-cookie: evil=1\r\n\r\n"
    error.hop = "edge\r\nx-evil: 1"
    lines: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_finished = lines.append
        respond_error(exchange, error, "test")

    server = HttpServer(handler)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(GET)
        status, headers, _ = await client.response()
        assert (status, headers["lapdev-error"]) == (502, "stream_reset; hop=test")
        assert "set-cookie" not in headers
        assert len(lines) == 1
    await server.aclose()
