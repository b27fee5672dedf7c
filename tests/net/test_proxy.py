"""An exchange carried to an app and back: the shared half of edge and sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lapdev.errors import LapdevError, UpstreamError
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.http_server import HttpServer, ServerOptions
from lapdev.net.listener import dial
from lapdev.net.proxy import Forwarding, forward
from lapdev.wire.http1 import (
    INNER_LIMITS,
    RequestHead,
    ResponseHead,
    strip_hop_by_hop,
    without_framing,
)
from tests.support.raw import (
    AppConnection,
    RawClient,
    RecordingApp,
    Script,
    answer_every_request,
    connect,
    listening,
    recording_app,
)


class OneApp:
    """A role as small as it gets: everything goes to one app, one connection per downstream."""

    def __init__(self, app: RecordingApp) -> None:
        self.app = app
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[tuple[Exception, bool]] = []

    def handle(self, exchange: Exchange) -> None:
        upstream: UpstreamConnection | None = exchange.connection.state.get("upstream")
        if upstream is not None and upstream.reusable:
            self.send(exchange, upstream)
            return
        task = asyncio.get_running_loop().create_task(self.connect(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self, exchange: Exchange) -> None:
        _, upstream = await dial(self.app.address, lambda: UpstreamConnection(INNER_LIMITS))
        exchange.connection.state["upstream"] = upstream
        exchange.connection.on_close.append(upstream.close)
        self.send(exchange, upstream)

    def send(self, exchange: Exchange, upstream: UpstreamConnection) -> None:
        request = exchange.request
        head = RequestHead(
            request.method,
            request.target,
            1,
            without_framing(strip_hop_by_hop(request.headers)),
            request.host,
            request.framing,
            request.content_length,
            upgrade=request.upgrade,
        )
        forward(exchange, head, upstream, Forwarding(self.failed, self.edit))

    def failed(self, exchange: Exchange, error: Exception, safe_to_retry: bool) -> None:
        self.failures.append((error, safe_to_retry))
        assert isinstance(error, LapdevError)
        respond_error(exchange, error, "test")

    def edit(self, head: ResponseHead) -> None:
        head.headers.append((b"x-edited", b"yes"))


@asynccontextmanager
async def through(script: Script) -> AsyncIterator[tuple[RawClient, RecordingApp, OneApp]]:
    async with recording_app(script) as app:
        role = OneApp(app)
        server = HttpServer(role.handle, ServerOptions(drain_timeout=0.5))
        async with listening(server.connection) as port, connect(port) as client:
            yield client, app, role
            client.writer.close()
        await server.aclose()


GET = b"GET /a HTTP/1.1\r\nHost: app\r\n\r\n"


async def test_requests_of_one_connection_share_one_upstream_connection() -> None:
    async with through(answer_every_request) as (client, app, _):
        for path in (b"/a", b"/b", b"/c"):
            client.send(b"GET %s HTTP/1.1\r\nHost: app\r\n\r\n" % path)
            status, headers, body = await client.response()
            assert (status, body) == (200, b"GET %s HTTP/1.1" % path)
            assert headers["x-edited"] == "yes"
    assert len(app.connections) == 1


async def test_hop_by_hop_fields_do_not_pass() -> None:
    async with through(answer_every_request) as (client, app, _):
        client.send(
            b"GET / HTTP/1.1\r\nHost: app\r\nConnection: X-Secret\r\nX-Secret: 1\r\n"
            b"Keep-Alive: 5\r\nX-Kept: 2\r\n\r\n"
        )
        await client.response()
    seen = bytes(app.connections[0]).lower()
    assert b"x-kept: 2" in seen
    assert b"x-secret" not in seen
    assert b"keep-alive" not in seen


async def test_a_late_body_reaches_the_app_as_it_comes() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        assert await connection.read_exactly(3) == b"abc"
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # the app moves before the body is whole
        await connection.read_exactly(3)
        connection.answer(b"six")

    async with through(script) as (client, _, _role):
        client.send(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 6\r\n\r\nabc")
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"def")
        assert (await client.response())[2] == b"six"


async def test_a_chunked_body_and_its_trailers_pass() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        body = await connection.read_until(b"X-Sum: 7\r\n\r\n")
        connection.answer(b"%d" % body.count(b"\r\n"))

    async with through(script) as (client, app, _):
        client.send(
            b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
        )
        assert (await client.response())[0] == 200
    assert b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n" in app.connections[0]


async def test_an_event_stream_is_flushed_as_it_comes() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        connection.send(b"data: 1\n\n")
        await connection.read_until(b"never")

    async with through(script) as (client, _, _role):
        client.send(GET)
        head = await client.read_until(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        assert await client.read_until(b"data: 1\n\n") == b"9\r\ndata: 1\n\n"


async def test_a_cut_answer_is_seen_as_cut() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    async with through(script) as (client, _, _role):
        client.send(GET)
        await client.read_until(b"\r\n\r\n")
        assert len(await client.read_rest()) < 100


async def test_a_cut_chunked_answer_has_no_last_chunk() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    async with through(script) as (client, _, _role):
        client.send(GET)
        assert b"0\r\n\r\n" not in await client.read_rest()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: foo\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"not http at all\r\n\r\n",
    ],
)
async def test_an_answer_that_is_not_http_becomes_502(answer: bytes) -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(answer)

    async with through(script) as (client, _, role):
        client.send(GET)
        assert (await client.response())[0] == 502
        assert isinstance(role.failures[0][0], UpstreamError)


async def test_an_app_that_closes_unasked_is_502_and_safe_to_retry_for_get() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()

    async with through(script) as (client, _, role):
        client.send(GET)
        assert (await client.response())[0] == 502
        assert role.failures[0][1] is True


async def test_a_post_is_never_safe_to_retry() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()

    async with through(script) as (client, _, role):
        client.send(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n")
        assert (await client.response())[0] == 502
        assert role.failures[0][1] is False


async def test_surplus_bytes_of_an_answer_reach_nobody() -> None:
    async def script(connection: AppConnection) -> None:
        while True:
            await connection.read_head()
            connection.answer(b"ok")
            if connection.index == 0:
                connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with through(script) as (client, app, _):
        for _ in range(2):
            client.send(GET)
            assert (await client.response())[2] == b"ok"
    assert len(app.connections) == 2


async def test_a_connection_the_app_closed_while_idle_is_not_reused() -> None:
    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"bye")

    async with through(script) as (client, app, _):
        for _ in range(3):
            client.send(GET)
            assert (await client.response())[2] == b"bye"
    assert len(app.connections) == 3


async def test_a_client_that_leaves_in_its_body_resets_the_app() -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        try:
            await connection.reader.readexactly(100)
        except ConnectionResetError:
            outcome.set_result("reset")
        except asyncio.IncompleteReadError:
            outcome.set_result("clean end")

    async with through(script) as (client, _, _role):
        client.send(b"POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 100\r\n\r\nabc")
        await asyncio.sleep(0.05)
        client.writer.transport.abort()
        async with asyncio.timeout(5):
            assert await outcome == "reset"


async def test_an_upgrade_is_relayed_raw_and_ends_by_halves() -> None:
    async def script(connection: AppConnection) -> None:
        head = await connection.read_head()
        assert b"upgrade: echo" in head.lower()
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nhello"
        )
        connection.send(b"[" + await connection.reader.read() + b"]")

    async with through(script) as (client, _, _role):
        client.send(
            b"GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly,"
        )
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"upgrade: echo" in head.lower()
        assert await client.read_exactly(5) == b"hello"
        client.send(b"late")
        client.writer.write_eof()
        assert await client.read_rest() == b"[early,late]"


async def test_an_upgrade_the_app_declines_stays_http() -> None:
    async with through(answer_every_request) as (client, _, _role):
        client.send(
            b"GET /a HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            b"GET /b HTTP/1.1\r\nHost: app\r\n\r\n"
        )
        assert (await client.response())[2] == b"GET /a HTTP/1.1"
        assert (await client.response())[2] == b"GET /b HTTP/1.1"


async def test_a_slow_client_slows_the_app() -> None:
    sent = 0

    async def script(connection: AppConnection) -> None:
        nonlocal sent
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 400000000\r\n\r\n")
        piece = b"x" * 1_000_000
        for _ in range(400):
            connection.send(piece)
            sent += len(piece)
            await connection.writer.drain()

    async with through(script) as (client, _, _role):
        client.send(GET)
        await client.read_until(b"\r\n\r\n")
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        settled = -1
        while settled != sent:
            settled = sent
            await asyncio.sleep(0.3)
        assert sent < 100_000_000
        client.writer.transport.abort()


async def test_a_client_that_leaves_an_event_stream_is_noticed_before_the_next_event() -> None:
    left = asyncio.Event()

    async def script(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")
        try:
            await connection.reader.read()
        except ConnectionResetError:
            left.set()

    async with through(script) as (client, _, _role):
        client.send(GET)
        await client.read_until(b"data: 1\n\n")
        client.writer.close()
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_client_that_half_closes_with_its_request_gets_the_whole_answer() -> None:
    async with through(answer_every_request) as (client, _, _role):
        client.send(GET)
        client.writer.write_eof()
        assert (await client.read_rest()).endswith(b"GET /a HTTP/1.1")
