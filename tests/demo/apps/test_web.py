from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import connect as connect_websocket

from tests.support import shop
from tests.support.raw import connect

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(web: shop.App) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.url, trust_env=False, timeout=20) as client:
        yield client


async def test_the_hops_are_what_each_service_says_of_itself(client: httpx.AsyncClient) -> None:
    hops = (await client.get("/hops.json")).json()
    assert [hop["service"] for hop in hops] == ["web", "api", "search", "redis"]
    assert [hop["version"] for hop in hops[:3]] == ["v1", "v1", "v1"]
    assert "error" not in hops[3]


async def test_the_page_shows_the_hops_and_links_the_other_previews(
    client: httpx.AsyncClient,
) -> None:
    text = (await client.get("/")).text
    assert text.index("search</span>") > text.index("api</span>") > text.index("web</span>")
    assert 'href="http://two.test/"' in text
    assert text.count('aria-current="page"') == 1


async def test_a_search_term_is_shown_as_text_and_never_as_markup(
    client: httpx.AsyncClient,
) -> None:
    text = (await client.get("/", params={"q": '"><script>alert(1)</script>'})).text
    assert "<script>" not in text


async def test_forty_requests_at_once_reach_the_api_over_at_most_eight_connections(
    client: httpx.AsyncClient,
) -> None:
    before = (await client.get("/connections")).json()["requests"]
    answers = await asyncio.gather(*(client.get("/hops.json") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    used = (await client.get("/connections", params={"after": before})).json()["opened"]
    assert 1 < used <= 8


async def test_an_upload_is_answered_with_its_digest_and_size(client: httpx.AsyncClient) -> None:
    body = bytes(range(256)) * 5_000
    answer = (await client.post("/upload", content=body)).json()
    assert answer == {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}


@pytest.mark.parametrize("size", [0, 1, 7, 65_536, 200_001])
async def test_a_download_has_the_size_asked_for_and_numbered_blocks(
    client: httpx.AsyncClient, size: int
) -> None:
    body = (await client.get("/download", params={"size": size})).content
    assert len(body) == size
    for number, offset in enumerate(range(0, size, 65_536)):
        block = body[offset : offset + 65_536]
        assert block[:8] == number.to_bytes(8, "big")[: len(block)]


async def test_the_first_event_arrives_while_the_stream_is_open(web: shop.App) -> None:
    async with connect(web.port) as visitor:
        visitor.send(b"GET /events?n=2&every=3600 HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await visitor.read_until(b"\r\n\r\n")
        assert b"content-type: text/event-stream" in head
        assert b"tick 0" in await visitor.read_until(b"\n\n")


async def test_the_websocket_echoes_text_and_bytes(web: shop.App) -> None:
    url = web.url.replace("http", "ws") + "/ws/echo"
    async with connect_websocket(url, proxy=None) as socket:
        await socket.send("tea")
        await socket.send(b"\x00\xff")
        assert [await socket.recv(), await socket.recv()] == ["tea", b"\x00\xff"]


async def test_the_trace_context_of_a_request_travels_to_the_api() -> None:
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def api(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"hops": [], "items":[]}')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(api, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with shop.shop() as running:
        web = running.start("web.py", API_URL=f"http://127.0.0.1:{port}")
        await asyncio.to_thread(web.wait_listening)
        trace = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "a=b"}
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(web.url + "/hops.json", headers=trace)).status_code == 200
    server.close()
    head = (await seen).lower()
    assert b"\r\ntracestate: a=b\r\n" in head
    assert b"\r\ntraceparent: 00-1111" in head


async def test_without_an_api_the_page_says_so_and_stops_on_sigterm() -> None:
    with shop.shop() as running:
        web = running.start("web.py", API_URL=f"http://127.0.0.1:{shop.free_port()}")
        await asyncio.to_thread(web.wait_listening)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(web.url + "/hops.json")
        assert (answer.status_code, answer.json()[1]["service"]) == (502, "api")
        assert "ConnectError" in answer.json()[1]["error"]
        web.process.terminate()
        await asyncio.to_thread(web.process.wait, 5)
