"""F13: what a visitor gets of an app that refuses, hangs, dies or babbles; asked of a cloud."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.cloud import edge
from lapdev.model import ClusterId, Environment, EnvironmentId, EnvironmentKind, PreviewUrl
from lapdev.net.relay import reset
from lapdev.routing.hosts import PreviewEntry
from tests.cloud.test_edge import Stage, browser, stage
from tests.support.raw import AppConnection, RawClient


def get(stage: Stage, method: str = "GET") -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: {stage.shop}\r\nContent-Length: 0\r\n\r\n".encode()


async def failure(client: RawClient) -> tuple[int, str]:
    status, headers, _ = await client.response()
    return status, headers["lapdev-error"].partition(";")[0]


async def test_f13_an_app_that_refuses_is_502(tmp_path: Path) -> None:
    async with stage(tmp_path) as where, browser(where.cloud) as client:
        where.web.port = 1  # nobody listens there
        client.send(get(where))
        assert await failure(client) == (502, "connect_failed")


@pytest.mark.slow
async def test_f13_an_app_that_takes_the_request_and_hangs_is_504_and_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_answer_timeout", lambda *_: 0.2)
    left = asyncio.Event()

    async def hang(connection: AppConnection) -> None:
        await connection.read_head()
        try:
            await connection.reader.read()
        finally:
            left.set()

    async with stage(tmp_path, hang) as where, browser(where.cloud) as client:
        client.send(get(where))
        assert await failure(client) == (504, "answer_timeout")
        async with asyncio.timeout(5):
            await left.wait()
        client.send(get(where, "POST"))  # the connection lives on, with an upstream of its own
        assert await failure(client) == (504, "answer_timeout")
        assert len(where.web.connections) == 2


@pytest.mark.slow
async def test_f13_a_preview_of_its_own_time_is_given_up_by_it(tmp_path: Path) -> None:
    async def hang(connection: AppConnection) -> None:
        await connection.read_head()
        await connection.reader.read()

    wish = {"service": "web", "port": 8080, "answer_timeout": 1}
    async with stage(tmp_path, hang) as where, browser(where.cloud) as client:
        await where.cloud.ok("POST", "/environments/shop/previews", wish)
        assert (await where.cloud.ok("GET", "/environments/shop"))["previews"]
        client.send(get(where))
        assert await failure(client) == (504, "answer_timeout")


@pytest.mark.parametrize(("own", "waits"), [(None, 300), (0, 0), (7, 7)])
def test_f13_the_clouds_time_holds_where_a_preview_says_nothing(
    own: int | None, waits: int
) -> None:
    environment = Environment(
        EnvironmentId("e"), "shop", EnvironmentKind.SHARED, ClusterId("c"), "ns", None, 1
    )
    preview = PreviewUrl("8080-web-x", environment.id, "web", 8080, answer_timeout=own)
    assert edge._answer_timeout(PreviewEntry.of(preview, environment), 300) == waits


@pytest.mark.slow
async def test_f13_nobody_is_hurried_while_an_intercept_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_answer_timeout", lambda *_: 0.2)
    hurried = asyncio.Event()
    unanswered = edge.Edge._unanswered

    def noted(self: edge.Edge, exchange: object) -> None:
        self._clusters._intercepted.add("somebody debugs")  # type: ignore[arg-type]
        unanswered(self, exchange)  # type: ignore[arg-type]
        hurried.set()

    monkeypatch.setattr(edge.Edge, "_unanswered", noted)

    async def slow(connection: AppConnection) -> None:
        await connection.read_head()
        await hurried.wait()
        connection.answer(b"at last")

    async with stage(tmp_path, slow) as where, browser(where.cloud) as client:
        client.send(get(where))
        assert (await client.response())[::2] == (200, b"at last")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
@pytest.mark.parametrize("clean", [True, False])
async def test_f13_an_answer_that_breaks_off_is_never_a_whole_one(
    tmp_path: Path, head: bytes, clean: bool
) -> None:
    async def die(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(head)
        await connection.writer.drain()
        if not clean:
            reset(connection.writer.transport)  # type: ignore[arg-type]

    async with stage(tmp_path, die) as where, browser(where.cloud) as client:
        client.send(get(where))
        answer = await client.read_rest()
    body = answer.partition(b"\r\n\r\n")[2]
    if answer and b" 502 " not in answer.split(b"\r\n", 1)[0]:
        assert len(body) < 100
        assert not body.endswith(b"0\r\n\r\n")


async def test_f13_endless_informational_answers_are_502(tmp_path: Path) -> None:
    async def babble(connection: AppConnection) -> None:
        await connection.read_head()
        while not connection.writer.is_closing():
            connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" * 20)
            await connection.writer.drain()

    async with stage(tmp_path, babble) as where, browser(where.cloud) as client:
        client.send(get(where))
        answer = await client.read_until(b"lapdev-error")
        assert b"\r\n\r\nHTTP/1.1 502 " in answer or answer.startswith(b"HTTP/1.1 502 ")


async def test_f13_an_app_that_restarts_between_requests_is_dialled_again(tmp_path: Path) -> None:
    async def once(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"one")

    async with stage(tmp_path, once) as where, browser(where.cloud) as client:
        for method in ("GET", "POST", "GET"):
            client.send(get(where, method))
            assert (await client.response())[::2] == (200, b"one")
        assert len(where.web.connections) == 3
