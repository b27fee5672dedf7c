"""Errors as people and programs meet them."""

from __future__ import annotations

import json

import pytest

from lapdev.errors import LapdevError, LoginRequired, NoRoute, NotReady, RemoteProtocolError
from lapdev.net.error_page import error_json, is_navigation, respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from tests.support.raw import connect, listening


async def answer_to(error: LapdevError, *fields: bytes) -> tuple[int, dict[str, str], bytes]:
    server = HttpServer(lambda exchange: respond_error(exchange, error, "edge"))
    async with listening(server.connection) as port, connect(port) as client:
        lines = b"".join(field + b"\r\n" for field in fields)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        answer = await client.response()
    await server.aclose()
    return answer


async def test_a_program_gets_json_with_cause_detail_hint_and_hop() -> None:
    status, headers, body = await answer_to(NoRoute("no such thing", hint="look elsewhere"))
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert headers["lapdev-error"] == "no_route; hop=edge"
    assert json.loads(body) == {
        "error": {
            "cause": "no_route",
            "detail": "no such thing",
            "hint": "look elsewhere",
            "hop": "edge",
        }
    }


async def test_a_person_gets_a_page_and_nothing_of_it_is_markup_from_outside() -> None:
    error = NoRoute("<script>alert(1)</script>", hint="<b>")
    _, headers, body = await answer_to(error, b"Sec-Fetch-Mode: navigate")
    assert headers["content-type"].startswith("text/html")
    assert b"<script>" not in body
    assert b"&lt;script&gt;" in body
    assert b"&lt;b&gt;" in body


async def test_not_ready_says_when_to_try_again() -> None:
    _, headers, page = await answer_to(NotReady(), b"Accept: text/html")
    assert headers["retry-after"] == "2"
    assert b'http-equiv="refresh"' in page


async def test_our_own_statuses_have_the_phrase_people_expect() -> None:
    server = HttpServer(lambda exchange: respond_error(exchange, NotReady(), "edge"))
    async with listening(server.connection) as port, connect(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.read_until(b"\r\n") == b"HTTP/1.1 503 Service Unavailable\r\n"
        await client.read_until(b"\r\n\r\n")
        client.send(b"broken\r\n\r\n")
        await client.read_until(b"}\n")
        assert await client.read_until(b"\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
    await server.aclose()


async def test_login_required_names_the_scheme() -> None:
    _, headers, _ = await answer_to(LoginRequired())
    assert headers["www-authenticate"] == "Bearer"


async def test_a_protocol_error_is_answered_with_the_status_it_carries() -> None:
    status, _, _ = await answer_to(RemoteProtocolError("too large", status=413))
    assert status == 413


async def test_an_answer_under_way_is_aborted_instead() -> None:
    def handler(exchange: Exchange) -> None:
        from lapdev.wire.http1 import Framing, ResponseHead

        exchange.start_response(ResponseHead(200, b"OK", [], framing=Framing.CHUNKED))
        exchange.send_data(b"half")
        respond_error(exchange, NotReady(), "edge")

    server = HttpServer(handler)
    async with listening(server.connection) as port, connect(port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"0\r\n\r\n" not in await client.read_rest()
    await server.aclose()


@pytest.mark.parametrize(
    ("headers", "navigation"),
    [
        ([(b"Sec-Fetch-Mode", b"navigate")], True),
        ([(b"Sec-Fetch-Mode", b"cors"), (b"Accept", b"text/html")], False),
        ([(b"Accept", b"text/html,*/*")], True),
        ([(b"Accept", b"*/*")], False),
        ([], False),
    ],
)
def test_a_navigation_is_told_from_a_fetch(
    headers: list[tuple[bytes, bytes]], navigation: bool
) -> None:
    assert is_navigation(headers) is navigation


def test_the_json_shape_without_a_hop_has_no_hop() -> None:
    assert "hop" not in json.loads(error_json(NoRoute()))["error"]
