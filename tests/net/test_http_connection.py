"""One downstream connection in its odd states: who waits for whom, for how long, and who is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer, ServerOptions
from lapdev.wire.http1 import Framing, Headers, ResponseHead
from tests.support.raw import PATIENCE, RawClient, connect, listening

QUICK = ServerOptions(
    header_timeout=0.1,
    idle_timeout=10.0,
    body_timeout=0.1,
    write_timeout=0.2,
    drain_timeout=1.0,
    sweep_interval=0.02,
)
PATIENT = replace(QUICK, header_timeout=10.0, body_timeout=10.0, write_timeout=10.0)
LONGER = 0.3
"""Seconds in which each of the quick deadlines has passed."""


class Sink:
    """Takes a body; told so, it has the client wait from the first piece on."""

    def __init__(self, exchange: Exchange, *, slow: bool = False) -> None:
        self.exchange, self.slow = exchange, slow
        self.size = 0
        self.ended = self.aborted = False

    def body_data(self, data: bytes) -> None:
        if self.slow and not self.size:
            self.exchange.pause_body()
        self.size += len(data)

    def body_end(self, trailers: Headers) -> None:
        self.ended = True
        self.exchange.respond(200, [], b"%d" % self.size)

    def body_aborted(self, error: Exception) -> None:
        self.aborted = True


@asynccontextmanager
async def serving(
    handler: Callable[[Exchange], None], options: ServerOptions = PATIENT
) -> AsyncIterator[tuple[RawClient, HttpServer]]:
    server = HttpServer(handler, options)
    async with listening(server.connection) as port, connect(port) as client:
        yield client, server
        client.writer.transport.abort()
    await server.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def echo_target(exchange: Exchange) -> None:
    exchange.respond(200, [], exchange.request.target)


def get(target: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


async def test_a_client_that_is_made_to_wait_has_no_deadline_to_keep() -> None:
    sinks: list[Sink] = []

    def handler(exchange: Exchange) -> None:
        sinks.append(Sink(exchange, slow=True))
        exchange.read_body(sinks[0])

    async with serving(handler, QUICK) as (client, _):
        client.send(post(10) + b"abc")
        await asyncio.sleep(LONGER)
        client.send(b"defghij")
        assert not sinks[0].aborted
        sinks[0].exchange.resume_body()
        assert (await client.response())[2] == b"10"


async def test_a_client_whose_body_nobody_reads_yet_has_no_deadline_to_keep() -> None:
    exchanges: list[Exchange] = []
    async with serving(exchanges.append, QUICK) as (client, _):
        client.send(post(2_000_000) + b"x" * 2_000_000)
        await asyncio.sleep(LONGER)
        exchanges[0].read_body(Sink(exchanges[0]))
        assert (await client.response())[2] == b"2000000"


async def test_a_sink_that_is_full_of_what_came_early_gets_no_more() -> None:
    exchanges: list[Exchange] = []
    async with serving(exchanges.append) as (client, _):
        client.send(post(9_000_000) + b"x" * 9_000_000)
        await until(lambda: exchanges and exchanges[0].bytes_in > 65_536)
        sink = Sink(exchanges[0], slow=True)
        exchanges[0].read_body(sink)
        await asyncio.sleep(0.1)
        assert sink.size < 1_000_000
        exchanges[0].resume_body()
        assert (await client.response())[2] == b"9000000"


async def test_a_sink_that_is_full_of_what_was_pipelined_gets_no_more() -> None:
    waiting: list[Exchange] = []
    sinks: list[Sink] = []

    def handler(exchange: Exchange) -> None:
        if not waiting:
            waiting.append(exchange)
            return
        sinks.append(Sink(exchange, slow=True))
        exchange.read_body(sinks[0])

    async with serving(handler) as (client, _):
        client.send(get(b"/") + post(9_000_000) + b"x" * 9_000_000)
        await until(lambda: waiting)
        await asyncio.sleep(0.05)
        echo_target(waiting[0])
        await client.response()
        await asyncio.sleep(0.1)
        assert sinks[0].size < 1_000_000
        sinks[0].exchange.resume_body()
        assert (await client.response())[2] == b"9000000"


async def test_answers_do_not_pile_up_for_a_client_that_does_not_read() -> None:
    answered = 0

    def handler(exchange: Exchange) -> None:
        nonlocal answered
        answered += 1
        exchange.respond(200, [], b"x" * 50_000)

    options = replace(PATIENT, max_requests=1_000_000)
    async with serving(handler, options) as (client, server):
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get(b"/") * 1_000)
        await until(lambda: server.connections)
        [connection] = server.connections
        await until(lambda: connection.write_paused)
        await asyncio.sleep(0.1)
        assert answered < 1_000
        assert connection.transport.get_write_buffer_size() < 1_000_000
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(1_000):
            assert len((await client.response())[2]) == 50_000


@pytest.mark.parametrize("count", [20, 5_000])  # the last is more than is held at once
async def test_requests_that_came_before_a_half_close_are_all_answered(count: int) -> None:
    async with serving(echo_target, replace(PATIENT, max_requests=count + 1)) as (client, _):
        client.send(b"".join(get(b"/%d" % number) for number in range(count)))
        client.writer.write_eof()
        for number in range(count):
            _, headers, body = await client.response()
            assert body == b"/%d" % number
            assert ("connection" in headers) == (number == count - 1)
        assert await client.read_rest() == b""


async def test_a_half_close_in_the_middle_of_a_pipelined_head_is_refused() -> None:
    async with serving(echo_target) as (client, _):
        client.send(get(b"/a") + b"GET /b HTTP/1.1\r\nHo")
        client.writer.write_eof()
        assert (await client.response())[2] == b"/a"
        assert (await client.response())[0] == 400
        assert await client.read_rest() == b""


async def test_a_head_that_began_behind_another_request_has_its_own_deadline() -> None:
    async with serving(echo_target, QUICK) as (client, _):
        client.send(get(b"/a") + b"GET /b HTTP/1.1\r\nHo")
        assert (await client.response())[2] == b"/a"
        assert (await client.response())[0] == 408


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    lost: list[Exception] = []

    def handler(exchange: Exchange) -> None:
        exchange.on_abort = lost.append
        exchange.start_response(ResponseHead(200, b"", [], framing=Framing.CHUNKED))
        exchange.send_data(b"x" * 20_000_000)

    async with serving(handler, QUICK) as (client, server):
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(get(b"/"))
        await until(lambda: lost)
        await until(lambda: not server.connections)


async def test_a_client_that_takes_nothing_of_its_last_answer_is_cut_off() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, [], b"x" * 20_000_000)

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with serving(handler, QUICK) as (client, server):
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.send(request)
        await until(lambda: server.connections)
        await until(lambda: not server.connections)


@pytest.mark.slow
async def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.respond(200, [], b"x" * 20_000_000)

    async with serving(handler, replace(QUICK, write_timeout=0.15)) as (client, _):
        client.send(get(b"/"))
        await client.read_until(b"\r\n\r\n")
        for _ in range(10):  # over a second, a piece at a time
            await asyncio.sleep(0.1)
            await client.read_exactly(2_000_000)


@pytest.mark.parametrize("rest", [b"", b"zz\r\n", b"5\r\nhello"])
async def test_an_early_answer_outlives_a_body_that_stops_or_breaks(rest: bytes) -> None:
    linger = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(echo_target) as (client, _):
        client.send(linger)
        await asyncio.sleep(0.05)
        client.send(rest)
        await asyncio.sleep(0.05)  # by now the answer lies unread, and a reset would take it
        assert (await client.response())[2] == b"/a"
        client.writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.read() == b""


async def test_an_app_that_ignores_a_body_leaves_the_connection_reading() -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.request.method == b"POST":
            exchange.pause_body()
        asyncio.get_running_loop().call_later(0.02, exchange.respond, 200, [], b"ok")

    async with serving(handler) as (client, _):
        for _ in range(3):
            client.send(post(5) + b"hello" + get(b"/"))
            assert (await client.response())[2] == b"ok"
            assert (await client.response())[2] == b"ok"
