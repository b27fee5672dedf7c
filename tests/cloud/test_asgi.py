"""ASGI apps on our own listener, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lapdev.cloud.asgi import HELD_BODY_BYTES, AsgiApp, AsgiBridge
from lapdev.net.http_server import HttpServer
from lapdev.net.relay import reset
from lapdev.net.tasks import Tasks
from tests.support.api import BEARER, ApiRig
from tests.support.raw import RawClient, connect, listening

LIMIT = 1_000_000

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def serving(app: AsgiApp, limit: int = LIMIT) -> AsyncIterator[RawClient]:
    async with Tasks() as tasks:
        server = HttpServer(AsgiBridge(app, tasks, limit).handle)
        async with listening(server.connection) as port, connect(port) as client:
            yield client
            client.writer.close()
        await server.aclose()


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """Answers with the body, piece by piece as it comes."""
    await send(start())
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send(body(message["body"], more))


async def test_the_scope_is_what_was_asked() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send(start(204))
        await send(body(b""))

    async with serving(app) as client:
        client.send(b"GET /a%20b/%C3%A4%ff?x=%20&y HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n")
        status, _, _ = await client.response()
    assert status == 204
    (scope,) = seen
    assert scope["type"] == "http"
    assert scope["method"] == "GET"
    assert scope["path"] == "/a b/ä\N{REPLACEMENT CHARACTER}"
    assert scope["raw_path"] == b"/a%20b/%C3%A4%ff"
    assert scope["query_string"] == b"x=%20&y"
    assert (b"x-one", b"1") in scope["headers"]
    assert scope["client"] == ("127.0.0.1", 0)


async def test_a_body_goes_in_and_an_answer_comes_out_on_one_connection() -> None:
    async with serving(echo) as client:
        for size in (0, 1, 70_000, 500_000):
            sent = bytes(range(250)) * (size // 250) + b"x" * (size % 250)
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + sent)
            status, _, got = await client.response()
            assert (status, got) == (200, sent)


async def test_a_chunked_body_goes_in_too() -> None:
    async with serving(echo) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await client.response())[2] == b"abcde"


async def test_an_answer_of_one_piece_gets_its_length() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-type", b"text/plain")))
        await send(body(b"hello"))

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        _, headers, got = await client.response()
    assert got == b"hello"
    assert headers["content-length"] == "5"
    assert headers["content-type"] == "text/plain"


async def test_a_streamed_answer_leaves_piece_by_piece() -> None:
    read_it = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"first", more=True))
        await read_it.wait()
        await send(body(b"second"))

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"transfer-encoding: chunked" in (await client.read_until(b"\r\n\r\n")).lower()
        assert await client.read_exactly(10) == b"5\r\nfirst\r\n"
        read_it.set()
        assert await client.read_until(b"0\r\n\r\n") == b"6\r\nsecond\r\n0\r\n\r\n"


async def test_a_head_request_gets_the_head_alone() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"5")))
        await send(body(b""))

    async with serving(app) as client:
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"content-length: 5" in (await client.read_until(b"\r\n\r\n")).lower()


async def test_a_client_that_waits_to_send_is_told_to_go_on() -> None:
    async with serving(echo) as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        client.send(head)
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"ok")
        assert (await client.response())[2] == b"ok"


# Limits


async def never(scope: Any, receive: Receive, send: Send) -> None:
    raise AssertionError("the app must not be called")


async def test_a_declared_body_over_the_limit_never_meets_the_app() -> None:
    async with serving(never, limit=10) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        status, headers, got = await client.response()
    assert status == 413
    assert headers["lapdev-error"] == "body_too_large; hop=cloud"
    assert b"larger than 10 bytes" in got


async def test_a_chunked_body_over_the_limit_ends_the_call() -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        try:
            while True:
                await receive()
        finally:
            ended.set()

    async with serving(app, limit=10) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"6\r\nabcdef\r\n6\r\nabcdef\r\n")
        assert (await client.response())[0] == 413
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_app_that_does_not_read_makes_the_client_wait() -> None:
    go_on = asyncio.Event()
    sizes: list[int] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        first = await receive()
        await go_on.wait()
        sizes.append(len(first["body"]))
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            sizes.append(len(message["body"]))
        await send(start())
        await send(body(b"%d" % sum(sizes)))

    size = 40_000_000
    async with serving(app, limit=size) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(bytes(size))
        # What the kernel's buffers cannot take stays here, because nobody reads at the far end.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.writer.drain()
        assert client.writer.transport.get_write_buffer_size() > size // 2
        go_on.set()
        assert (await client.response())[2] == b"%d" % size


async def test_a_client_that_does_not_read_makes_the_app_wait() -> None:
    sent = 0
    stuck = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(1_000):
            try:
                async with asyncio.timeout(0.2):
                    await send(body(bytes(HELD_BODY_BYTES), more=True))
            except TimeoutError:
                stuck.set()
            sent += HELD_BODY_BYTES
            if stuck.is_set():
                break
        await send(body(b""))

    async with serving(app) as client:
        client.writer.transport.pause_reading()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            await stuck.wait()
        client.writer.transport.resume_reading()
        _, _, got = await client.response()
    assert len(got) == sent < 1_000 * HELD_BODY_BYTES


# Failures


async def test_a_client_that_resets_its_connection_cancels_its_call() -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waiting.set()
        try:
            await receive()  # nothing can come any more but the client's leaving
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            await waiting.wait()
            reset(client.writer.transport)
            await cancelled.wait()


async def test_a_client_that_leaves_in_its_body_cancels_its_call() -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"abc"
        waiting.set()
        try:
            await receive()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        async with asyncio.timeout(5):
            await waiting.wait()
            client.writer.close()
            await cancelled.wait()


async def test_an_app_that_raises_is_a_500_that_tells_nothing() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("hunter2")

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        status, _, got = await client.response()
    assert status == 500
    assert b"hunter2" not in got


async def test_an_app_that_raises_in_its_answer_cuts_it() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"part", more=True))
        raise ZeroDivisionError

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"0\r\n\r\n" not in await client.read_rest()


@pytest.mark.parametrize("size", [4, 6])
async def test_a_body_that_is_not_as_long_as_declared_is_never_a_clean_end(size: int) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"5")))
        await send(body(b"x" * 2, more=True))
        await send(body(b"x" * (size - 2)))

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await client.read_rest()
    assert not got.endswith(b"x" * 5)


@pytest.mark.parametrize("messages", [[], [start()], [body(b"x")], [{"type": "http.x"}]])
async def test_an_app_that_breaks_the_rules_is_a_500(messages: list[dict[str, Any]]) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async with serving(app) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response())[0] == 500


async def test_closing_the_tasks_cuts_what_still_runs() -> None:
    waiting = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    tasks = Tasks()
    server = HttpServer(AsgiBridge(app, tasks).handle)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            await waiting.wait()
        await tasks.aclose()
        assert await client.read_rest() == b""
    await server.aclose()


# The real API


async def test_the_api_answers_through_the_bridge(rig: ApiRig) -> None:
    head = f"Host: localhost\r\nAuthorization: {BEARER['authorization']}\r\n".encode()
    async with serving(rig.app) as client:
        client.send(b"GET /api/v1/clusters HTTP/1.1\r\n" + head + b"\r\n")
        status, headers, got = await client.response()
        assert (status, headers["content-type"]) == (200, "application/json")
        assert b'"name":"local"' in got
        client.send(b"GET /api/v1/clusters HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.response())[0] == 401
        client.send(
            b"POST /api/v1/environments HTTP/1.1\r\n"
            + head
            + b"Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{"
        )
        assert (await client.response())[0] == 400
        client.send(b"DELETE /api/v1/intercepts/none HTTP/1.1\r\n" + head + b"\r\n")
        assert (await client.response())[0] == 404
