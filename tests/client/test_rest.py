"""The REST client: names of this machine, Unix sockets, and every failure as one of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.account import Account
from lapdev.client.rest import ApiError, Json, RestClient, is_loopback
from lapdev.cloud.asgi import AsgiBridge
from lapdev.errors import ConfigError, ConnectFailed, LapdevError, LoginRequired, UpstreamError
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.net.tasks import Tasks
from tests.support.api import TOKEN
from tests.support.raw import AppConnection, recording_app
from tests.support.served_api import ServedApi


async def call(server: str, *words: str, token: str = TOKEN) -> Json:
    def blocking() -> Json:
        with RestClient(Account(server, token)) as client:
            return client.call(*(words or ("GET", "clusters")))

    return await asyncio.to_thread(blocking)


async def test_a_call_brings_its_json(api: ServedApi) -> None:
    assert [c["name"] for c in (await call(api.server))["clusters"]] == ["local"]
    assert (await call(api.server + "/"))["clusters"]


async def test_names_under_localhost_lead_to_this_machine_with_their_own_host() -> None:
    async def script(app: AppConnection) -> None:
        await app.read_head()
        app.answer(b"{}")

    async with recording_app(script) as app:
        assert await call(f"http://api.lapdev.localhost:{app.port}") == {}
    assert f"Host: api.lapdev.localhost:{app.port}\r\n".encode() in app.connections[0]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert (await call(api.server))["clusters"]


async def test_a_proxy_of_the_environment_is_asked_as_tunnels_ask_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(app: AppConnection) -> None:
        await app.read_head()
        app.answer(b"{}")

    async with recording_app(script) as app:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@127.0.0.1:{app.port}")
        assert await call("http://cloud.example:8080") == {}
    assert app.connections[0].startswith(b"GET http://cloud.example:8080/api/v1/clusters HTTP/1.1")
    assert b"proxy-authorization: basic bwu6cebzcw==\r\n" in bytes(app.connections[0]).lower()


async def test_what_is_wrong_with_a_proxy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(app: AppConnection) -> None:
        await app.read_head()
        app.send(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")

    async with recording_app(script) as app:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{app.port}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{app.port}")
        for server in ("http://cloud.example", "https://cloud.example"):
            with pytest.raises(LapdevError) as caught:
                await call(server)
            assert "HTTPS_PROXY or HTTP_PROXY" in caught.value.hint
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="socks5"):
        await call("http://cloud.example")


async def test_a_unix_socket_is_a_server_too(api: ServedApi, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/api.sock"
    async with Tasks() as tasks:
        server = HttpServer(AsgiBridge(api.rig.app, tasks).handle)
        listener = await listen(address, server.connection)
        assert (await call(address))["clusters"]
        await listener.aclose()
        await server.aclose()


async def test_the_servers_reason_becomes_the_error(api: ServedApi) -> None:
    with pytest.raises(ApiError, match="no environment 'gone'") as caught:
        await call(api.server, "GET", "environments", "gone")
    assert (caught.value.answer_status, caught.value.cause) == (404, "not_found")
    assert caught.value.hint == "`lapdev env list` shows them all"


async def test_a_wrong_token_says_where_to_put_the_right_one(api: ServedApi) -> None:
    with pytest.raises(LoginRequired) as caught:
        await call(api.server, token="wrong-one")
    assert "LAPDEV_TOKEN_FILE" in caught.value.hint
    assert "wrong-one" not in caught.value.detail


@pytest.mark.parametrize("segment", ["../clusters", "a/b", "?x=1", "%2e", "ä", "a b"])
async def test_a_segment_is_never_read_as_more_than_one(api: ServedApi, segment: str) -> None:
    with pytest.raises(LapdevError) as caught:
        await call(api.server, "GET", "environments", segment)
    assert caught.value.cause == "not_found"


async def test_nobody_there_is_told_by_address() -> None:
    async with recording_app(lambda _: asyncio.sleep(0)) as app:
        server = f"http://{app.address}"
    with pytest.raises(ConnectFailed, match=f"cannot reach {server}") as caught:
        await call(server)
    assert "LAPDEV_SERVER" in caught.value.hint


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "x"}', b'{"error": {}}'])
async def test_an_answer_that_is_not_ours_is_told_as_such(body: bytes) -> None:
    async def script(app: AppConnection) -> None:
        await app.read_head()
        app.send(b"HTTP/1.1 502 Bad\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async with recording_app(script) as app:
        with pytest.raises(UpstreamError, match="answered 502"):
            await call(f"http://{app.address}")


def test_what_loopback_is() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "::1", "localhost", "a.localhost"]))
    assert not any(map(is_loopback, ["localhost.example", "10.0.0.1", "notlocalhost"]))
