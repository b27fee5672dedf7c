"""Connections become exchanges: bytes in, answers out, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer, Leaving, ServerOptions
from lapdev.wire.http1 import Framing, ResponseHead
from tests.support.raw import RawClient, connect, listening

QUICK = ServerOptions(
    header_timeout=0.2, idle_timeout=0.4, body_timeout=0.2, drain_timeout=1.0, sweep_interval=0.05
)


@asynccontextmanager
async def serving(
    handler: Callable[[Exchange], None], options: ServerOptions | None = None
) -> AsyncIterator[tuple[RawClient, HttpServer]]:
    server = HttpServer(handler, options)
    async with listening(server.connection) as port, connect(port) as client:
        yield client, server
        client.writer.close()
    await server.aclose()


def echo_target(exchange: Exchange) -> None:
    exchange.respond(200, [(b"content-type", b"text/plain")], exchange.request.target)


async def echo_body(exchange: Exchange) -> None:
    body = await exchange.read_whole_body(1_000)
    exchange.respond(200, [], body)


async def test_a_request_is_answered_and_the_connection_lives_on() -> None:
    async with serving(echo_target) as (client, _):
        for path in (b"/one", b"/two"):
            client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            status, headers, body = await client.response()
            assert (status, body) == (200, path)
            assert "connection" not in headers


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(500)))
        for n in range(500):
            assert (await client.response())[2] == b"/%d" % n


async def test_connection_close_is_obeyed_and_what_follows_is_ignored() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGARBAGE\x00")
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.read_rest() == b""


async def test_a_request_that_cannot_be_parsed_gets_its_status_and_is_closed() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (400, "close")
        assert await client.read_rest() == b""


async def test_a_head_that_never_ends_is_answered_408() -> None:
    async with serving(echo_target, QUICK) as (client, _):
        client.send(b"GET / HTTP/1.1\r\nHo")
        assert (await client.response())[0] == 408


async def test_an_idle_connection_is_closed_without_an_answer() -> None:
    async with serving(echo_target, QUICK) as (client, _):
        assert await client.read_rest() == b""


async def test_a_body_that_stops_coming_or_never_begins_is_answered_408() -> None:
    lost: list[Exception] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_abort = lost.append

    for begun in (b"", b"abc"):
        async with serving(handler, QUICK) as (client, _):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n" + begun)
            assert (await client.response())[0] == 408
            assert await client.read_rest() == b""
    assert len(lost) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_a_body_is_read_however_it_is_framed(body: bytes) -> None:
    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    handler = lambda exchange: tasks.append(loop.create_task(echo_body(exchange)))  # noqa: E731
    async with serving(handler) as (client, _):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + body)
        assert (await client.response())[2] == b"hello"


async def test_expect_100_continue_is_answered_when_the_body_is_wanted() -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    handler = lambda exchange: tasks.append(loop.create_task(echo_body(exchange)))  # noqa: E731
    async with serving(handler) as (client, _):
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"ok")
        assert (await client.response())[2] == b"ok"


async def test_an_early_answer_with_a_short_rest_keeps_the_connection() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        assert (await client.response())[2] == b"/a"
        client.send(b"lloGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response())[2] == b"/b"


async def test_an_early_answer_to_a_huge_body_closes_the_connection() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        assert (await client.response())[2] == b"/a"
        client.send(b"x" * 200_000)
        assert await client.read_rest() == b""


async def test_head_gets_the_length_without_the_body() -> None:
    async with serving(echo_target) as (client, _):
        client.send(b"HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.read_until(b"\r\n\r\n")
        assert b"content-length: 4" in head.lower()
        assert (await client.response())[2] == b"/x"


async def test_a_chunked_answer_to_http_1_0_ends_with_the_connection() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.start_response(ResponseHead(200, b"OK", [], framing=Framing.CHUNKED))
        exchange.send_data(b"data")
        exchange.end_response()

    async with serving(handler) as (client, _):
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        answer = await client.read_rest()
        assert answer.endswith(b"\r\n\r\ndata")
        assert b"transfer-encoding" not in answer.lower()


async def test_head_and_first_data_leave_in_one_write() -> None:
    writes: list[bytes] = []
    written = asyncio.Event()

    def handler(exchange: Exchange) -> None:
        connection = exchange.connection
        connection.write = writes.append  # type: ignore[method-assign]
        exchange.respond(200, [], b"body")
        written.set()

    async with serving(handler) as (client, _):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            await written.wait()
    assert len(writes) == 1
    assert writes[0].endswith(b"\r\n\r\nbody")


async def test_a_handler_that_fails_answers_500_and_the_server_goes_on() -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.request.target == b"/bad":
            raise RuntimeError("a bug")
        echo_target(exchange)

    server = HttpServer(handler)
    async with listening(server.connection) as port:
        async with connect(port) as client:
            client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response())[0] == 500
        async with connect(port) as client:
            client.send(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response())[0] == 200
    await server.aclose()


async def test_draining_finishes_the_exchange_and_then_closes() -> None:
    waiting: asyncio.Queue[Exchange] = asyncio.Queue()
    server = HttpServer(waiting.put_nowait)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            exchange = await waiting.get()
        closing = asyncio.get_running_loop().create_task(server.aclose())
        await asyncio.sleep(0)
        exchange.respond(200, [], b"done")
        status, headers, body = await client.response()
        assert (status, headers["connection"], body) == (200, "close", b"done")
        await closing


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_who_just_had_an_answer_may_send_one_more_request() -> None:
    server = HttpServer(echo_target)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(GET)
        assert (await client.response())[0] == 200
        closing = asyncio.get_running_loop().create_task(server.aclose(Leaving(idle_timeout=5.0)))
        await asyncio.sleep(0)
        client.send(GET)
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (200, "close")
        client.writer.close()
        await closing


async def test_an_answer_that_promised_to_go_on_is_followed_by_one_more() -> None:
    waiting: asyncio.Queue[Exchange] = asyncio.Queue()
    server = HttpServer(waiting.put_nowait)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(GET)
        async with asyncio.timeout(5):
            exchange = await waiting.get()
        exchange.start_response(ResponseHead(200, b"OK", [], framing=Framing.CHUNKED))
        exchange.flush()
        closing = asyncio.get_running_loop().create_task(server.aclose(Leaving(idle_timeout=5.0)))
        await asyncio.sleep(0)
        exchange.end_response()
        assert "connection" not in (await client.response())[1]
        client.send(GET)
        async with asyncio.timeout(5):
            (await waiting.get()).respond(200, [])
        assert (await client.response())[1]["connection"] == "close"
        client.writer.close()
        await closing


async def test_who_was_silent_for_long_is_closed_at_once() -> None:
    options = ServerOptions(sweep_interval=0.01)
    server = HttpServer(echo_target, options)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(GET)
        assert (await client.response())[0] == 200
        closing = asyncio.get_running_loop().create_task(server.aclose(Leaving(idle_timeout=0.02)))
        assert await client.read_rest() == b""
        await closing


async def test_a_head_that_is_coming_in_is_waited_for() -> None:
    server = HttpServer(echo_target)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(GET + GET[:10])
        assert (await client.response())[0] == 200
        closing = asyncio.get_running_loop().create_task(server.aclose())
        await asyncio.sleep(0)
        client.send(GET[10:])
        assert (await client.response())[1]["connection"] == "close"
        client.writer.close()
        await closing


async def test_a_detached_connection_is_raw_and_keeps_what_was_read() -> None:
    received: list[bytes] = []

    def handler(exchange: Exchange) -> None:
        transport, early = exchange.detach()
        received.append(early)
        transport.write(b"raw!")
        transport.close()
        exchange.finish_detached("")

    async with serving(handler) as (client, _):
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly bytes"
        )
        assert await client.read_rest() == b"raw!"
    assert received == [b"early bytes"]
