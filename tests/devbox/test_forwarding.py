from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.devbox.app import Devbox
from tests.support.devbox import connected_devbox
from tests.support.devbox_cloud import STATE, DevboxCloud, devbox_cloud, service
from tests.support.raw import (
    AppConnection,
    RecordingApp,
    answer_every_request,
    connect,
    recording_app,
)


@pytest.fixture
async def app() -> AsyncIterator[RecordingApp]:
    async with recording_app(answer_every_request) as app:
        yield app


@pytest.fixture
async def cloud(app: RecordingApp) -> AsyncIterator[DevboxCloud]:
    async with devbox_cloud(p8080=app.address, p80=app.address) as cloud:
        services = (service("api", 8080, 80), service("web", 80), service("db", 5432))
        cloud.state = type(STATE)(STATE.environment, "shop", "ns-shop", services, ())
        yield cloud


@pytest.fixture
async def devbox(cloud: DevboxCloud, tmp_path: Path) -> AsyncIterator[Devbox]:
    async with connected_devbox(cloud, tmp_path) as devbox:
        yield devbox


def get(url: str, host: str, *fields: str) -> bytes:
    lines = [f"GET {url} HTTP/1.1", f"Host: {host}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_a_url_is_asked_of_the_service_it_names(devbox: Devbox, app: RecordingApp) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(
            get("http://api:8080/a?b=c", "api:8080", "Proxy-Authorization: Basic eA==", "X-Own: 1")
        )
        status, _, body = await client.response()
    assert (status, body) == (200, b"GET /a?b=c HTTP/1.1")
    sent = app.connections[0].lower()
    assert b"\r\nhost: api:8080\r\n" in sent
    assert b"\r\nx-own: 1\r\n" in sent
    assert b"proxy-authorization" not in sent


async def test_one_connection_asks_several_services_each_over_a_stream_of_its_own(
    devbox: Devbox, cloud: DevboxCloud
) -> None:
    async with connect(devbox.proxy_address) as client:
        for url, host in [("http://api:8080/", "api:8080"), ("http://web/", "web")] * 3:
            client.send(get(url, host))
            assert (await client.response())[0] == 200
    assert [target.service for target in cloud.targets if hasattr(target, "service")] == [
        "api",
        "web",
    ]


@pytest.mark.parametrize(
    ("url", "host", "status", "words"),
    [
        ("http://example.com/", "example.com", 502, "known here: api, db, web"),
        ("http://api:81/", "api:81", 502, "its ports: 8080, 80"),
        ("http://db:5432/", "db:5432", 502, "nothing listens there"),
        ("http://api:81/", "web", 502, "its ports: 8080, 80"),
        ("/", "127.0.0.1:9", 502, "known here"),
    ],
)
async def test_what_cannot_be_asked_is_answered_in_plain_words(
    devbox: Devbox, url: str, host: str, status: int, words: str
) -> None:
    async with connect(devbox.proxy_address) as client:
        client.send(get(url, host))
        got, headers, body = await client.response()
    assert got == status
    assert headers["content-type"].startswith("text/plain")
    assert headers["lapdev-error"].endswith("hop=devbox")
    assert words in body.decode()


async def test_a_service_that_closed_the_idle_stream_is_asked_again(tmp_path: Path) -> None:
    async def answer_once(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"hello")

    async with (
        recording_app(answer_once) as app,
        devbox_cloud(p8080=app.address) as cloud,
        connected_devbox(cloud, tmp_path) as devbox,
        connect(devbox.proxy_address) as client,
    ):
        for _ in range(5):
            client.send(get("http://api:8080/", "api:8080"))
            assert (await client.response())[2] == b"hello"
    assert len(app.connections) == 5


async def test_a_body_streams_through(tmp_path: Path) -> None:
    async def count_body(connection: AppConnection) -> None:
        await connection.read_head()
        body = await connection.read_exactly(300_000)
        connection.answer(b"%d" % len(body))

    async with (
        recording_app(count_body) as app,
        devbox_cloud(p8080=app.address) as cloud,
        connected_devbox(cloud, tmp_path) as devbox,
        connect(devbox.proxy_address) as client,
    ):
        head = b"POST http://api:8080/ HTTP/1.1\r\nHost: api:8080\r\nContent-Length: 300000\r\n\r\n"
        client.send(head + bytes(300_000))
        assert (await client.response())[2] == b"300000"
