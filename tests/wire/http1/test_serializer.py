"""What we write is what our own parsers, and h11, read."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError
from lapdev.wire.http1 import (
    Framing,
    Headers,
    RequestHead,
    ResponseHead,
    chunk_bytes,
    framing_headers,
    last_chunk_bytes,
    request_bytes,
    response_bytes,
)
from tests.support.http1_feed import requests, response

HEADERS: Headers = [(b"Host", b"a"), (b"X", b"y z"), (b"Empty", b"")]


def request_head(**changes: object) -> RequestHead:
    fields: dict[str, object] = {
        "method": b"GET",
        "target": b"/a?b",
        "minor": 1,
        "headers": HEADERS,
        "host": b"a",
    }
    return RequestHead(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_request_head_is_written_as_it_is_read() -> None:
    head = request_head()
    data = request_bytes(head)
    assert data == b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: y z\r\nEmpty: \r\n\r\n"
    assert requests(data).request == head


def test_a_response_head_is_written_as_it_is_read() -> None:
    head = ResponseHead(404, b"Not Found", [(b"Content-Length", b"0")], framing=Framing.LENGTH)
    data = response_bytes(head)
    assert data == b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    assert response(data).response == head


def test_we_write_our_own_version_whatever_we_received() -> None:
    assert request_bytes(request_head(minor=0)).startswith(b"GET /a?b HTTP/1.1\r\n")
    assert response_bytes(ResponseHead(200, b"", [], minor=0)) == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\0", b"\r\n", b"a\r\nSet-Cookie: b"])
def test_nothing_can_split_a_head(bad: bytes) -> None:
    for head in (
        request_head(method=bad),
        request_head(target=b"/" + bad),
        request_head(headers=[(b"X" + bad, b"y")]),
        request_head(headers=[(b"X", b"y" + bad)]),
        request_head(headers=[(b"X", bad + b"y")]),
    ):
        with pytest.raises(LocalProtocolError):
            request_bytes(head)
    for answer in (
        ResponseHead(200, bad, []),
        ResponseHead(200, b"", [(b"Location", b"/" + bad)]),
        ResponseHead(200, b"", [(bad, b"")]),
    ):
        with pytest.raises(LocalProtocolError):
            response_bytes(answer)
    with pytest.raises(LocalProtocolError):
        last_chunk_bytes([(b"X", bad)])


@pytest.mark.parametrize("head", [request_head(method=b"GET /x"), request_head(target=b"/ x")])
def test_a_space_cannot_shift_the_request_line(head: RequestHead) -> None:
    with pytest.raises(LocalProtocolError):
        request_bytes(head)


def test_chunks_are_written_as_they_are_read() -> None:
    body = chunk_bytes(b"hello") + chunk_bytes(b"") + chunk_bytes(b"x" * 26)
    assert body == b"5\r\nhello\r\n1a\r\n" + b"x" * 26 + b"\r\n"
    assert last_chunk_bytes() == b"0\r\n\r\n"
    end = last_chunk_bytes([(b"Sum", b"1"), (b"A", b"")])
    assert end == b"0\r\nSum: 1\r\nA: \r\n\r\n"
    head = request_head(headers=[(b"Host", b"a"), *framing_headers(Framing.CHUNKED, 0)])
    [message] = requests(request_bytes(head) + body + end).messages
    assert message.body == b"hello" + b"x" * 26
    assert message.trailers == [(b"Sum", b"1"), (b"A", b"")]


def test_framing_fields_announce_what_the_body_will_be() -> None:
    assert framing_headers(Framing.LENGTH, 12) == [(b"Content-Length", b"12")]
    assert framing_headers(Framing.CHUNKED, 0) == [(b"Transfer-Encoding", b"chunked")]
    for framing in (Framing.NONE, Framing.UNTIL_CLOSE, Framing.SWITCHED):
        assert framing_headers(framing, 0) == []
