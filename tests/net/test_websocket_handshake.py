"""The opening handshake: what a refusal says, whoever it comes from, and our own answers."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from lapdev.errors import TunnelRefused
from lapdev.net.websocket_handshake import (
    MAX_REFUSAL_BYTES,
    ClientHandshake,
    ClientTarget,
    apply_mask,
    server_answer,
)
from lapdev.wire.http1 import RequestHead, RequestParser

PROTOCOL = "lapdev.tunnel.v1"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def handshake(host: str = "example", port: int = 443) -> ClientHandshake:
    target = ClientTarget(host, port, True, "/t", (("Authorization", "Bearer s3cret"),))
    return ClientHandshake(target, PROTOCOL)


def request_of(client: ClientHandshake) -> RequestHead:
    head = RequestParser().receive_data(client.request)[0]
    assert isinstance(head, RequestHead)
    return head


def refusal(answer: bytes) -> TunnelRefused:
    with pytest.raises(TunnelRefused) as caught:
        handshake().receive_data(answer)
    assert "s3cret" not in str(caught.value) + caught.value.hint
    return caught.value


@pytest.mark.parametrize("step", [1, 10_000])
def test_both_ends_understand_each_other_and_what_follows_is_kept(step: int) -> None:
    client = handshake()
    answer = server_answer(request_of(client), PROTOCOL)
    assert answer.status == 101
    data = answer.data + b"frames"
    rest = None
    while rest is None:
        rest, data = client.receive_data(data[:step]), data[step:]
    assert rest + data == b"frames"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("example", 443, b"example"),
        ("example", 8443, b"example:8443"),
        ("::1", 8443, b"[::1]:8443"),
    ],
)
def test_the_request_names_the_server(host: str, port: int, expected: bytes) -> None:
    lines = handshake(host, port).request.split(b"\r\n")
    assert b"Host: " + expected in lines


def accept_of(client: ClientHandshake) -> bytes:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", client.request)
    assert found is not None
    return base64.b64encode(hashlib.sha1(found[1] + GUID).digest())


@pytest.mark.parametrize(
    "change",
    [
        (b"websocket", b"h2c"),
        (b"Sec-WebSocket-Accept", b"X-Accept"),
        (b"lapdev.tunnel.v1", b"chat"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ],
)
def test_an_upgrade_that_is_not_ours_is_refused(change: tuple[bytes, bytes]) -> None:
    client = handshake()
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_of(client) + b"\r\n"
        b"Sec-WebSocket-Protocol: lapdev.tunnel.v1\r\n\r\n"
    )
    with pytest.raises(TunnelRefused, match="answered 101") as caught:
        client.receive_data(answer.replace(*change))
    assert caught.value.answer_status == 101


def test_a_sign_in_page_is_known_before_all_of_it_is_there() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>Welcome to"
    error = refusal(page)
    assert error.answer_status == 200
    assert "sign-in page" in error.hint


@pytest.mark.parametrize(
    ("status", "fields", "hint"),
    [
        (407, b"Proxy-Authenticate: Basic\r\n", "HTTPS_PROXY"),
        (302, b"Location: https://login.example/\r\n", "https://login.example/"),
        (401, b"", "token"),
        (502, b"Content-Type: text/html\r\n", "proxy"),
        (400, b"Content-Type: text/plain\r\n", "https://"),
    ],
)
def test_a_refusal_says_what_to_do(status: int, fields: bytes, hint: str) -> None:
    answer = b"HTTP/1.1 %d No\r\n%bContent-Length: 0\r\n\r\n" % (status, fields)
    error = refusal(answer)
    assert error.answer_status == status
    assert hint in error.hint


def test_our_own_words_are_passed_on() -> None:
    body = b'{"error": {"detail": "another cluster"}}'
    error = refusal(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert str(error) == "the other end answered 403: another cluster"
    body = b'{"error": {"detail": "no\\u001b[2J", "hint": "use another name"}}'
    error = refusal(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert str(error) == "the other end answered 404: no?[2J"
    assert error.hint == "use another name"


def test_an_endless_refusal_is_not_waited_for() -> None:
    client = handshake()
    assert client.receive_data(b"HTTP/1.1 500 Oh\r\n\r\n") is None
    assert client.receive_data(b"x" * MAX_REFUSAL_BYTES) is None
    with pytest.raises(TunnelRefused, match="answered 500"):
        client.receive_data(b"x")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "closed before the response"),
        (b"HTTP/1.1 503 Busy\r\n\r\nlater", "answered 503"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nlater", "answered 503"),
    ],
)
def test_a_connection_that_ends_says_why_there_is_no_websocket(answer: bytes, text: str) -> None:
    client = handshake()
    assert client.receive_data(answer) is None
    assert text in str(client.receive_eof())


def test_an_earlier_answer_is_only_information() -> None:
    client = handshake()
    assert client.receive_data(b"HTTP/1.1 103 Early Hints\r\n\r\n") is None
    answer = server_answer(request_of(client), PROTOCOL)
    assert client.receive_data(answer.data) == b""


def test_a_mask_applied_twice_is_none() -> None:
    data = bytes(range(256)) * 5 + b"odd"
    assert apply_mask(apply_mask(data, b"\x00\xff\x10\x01"), b"\x00\xff\x10\x01") == data
    assert apply_mask(memoryview(data)[1:], b"\1\1\1\1") == bytes(b ^ 1 for b in data[1:])
