"""Hop-by-hop fields: row 27 and RFC 9110 §7.6.1."""

from __future__ import annotations

import pytest

from lapdev.wire.http1 import Headers, strip_hop_by_hop, without_framing


def names(headers: Headers) -> list[bytes]:
    return [name for name, _ in strip_hop_by_hop(headers)]


def test_fields_for_this_hop_do_not_go_on() -> None:
    hop: Headers = [
        (b"Connection", b"keep-alive"),
        (b"KEEP-ALIVE", b"timeout=5"),
        (b"Proxy-Connection", b"close"),
        (b"Proxy-Authorization", b"basic x"),
        (b"Proxy-Authenticate", b"basic"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"websocket"),
        (b"HTTP2-Settings", b"AAA"),
        (b"TE", b"gzip"),
    ]
    kept: Headers = [
        (b"Host", b"a"),
        (b"Trailer", b"Sum"),
        (b"Content-Length", b"1"),
        (b"X", b"1"),
        (b"X", b"2"),
    ]
    assert strip_hop_by_hop(kept[:2] + hop + kept[2:]) == kept
    assert strip_hop_by_hop(kept) == kept


def test_what_connection_names_does_not_go_on() -> None:
    headers: Headers = [
        (b"x-one", b"1"),
        (b"Connection", b"X-One, , close"),
        (b"X-Two", b"2"),
        (b"connection", b"\tx-TWO "),
        (b"X-Three", b"3"),
    ]
    assert strip_hop_by_hop(headers) == [(b"X-Three", b"3")]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x-forwarded-proto",
        b"Forwarded",
        b"Authorization",
        b"Cookie",
        b"Host",
        b"Content-Length",
        b"tracestate",
        b"traceparent",
        b"baggage",
        b"lapdev-diverted",
        b"Lapdev-Answered-By",
    ],
)
def test_row_27_protected_fields_cannot_be_named_away(name: bytes) -> None:
    headers: Headers = [(b"Connection", b"close, " + name + b", X"), (name, b"v"), (b"X", b"y")]
    assert strip_hop_by_hop(headers) == [(name, b"v")]


def test_te_goes_on_for_trailers_only() -> None:
    assert strip_hop_by_hop([(b"te", b"trailers")]) == [(b"te", b"trailers")]
    assert strip_hop_by_hop([(b"TE", b"gzip;q=0.5, Trailers")]) == [(b"TE", b"trailers")]
    assert strip_hop_by_hop([(b"Connection", b"TE"), (b"TE", b"trailers")]) == [
        (b"TE", b"trailers")
    ]
    assert names([(b"TE", b"x-trailers")]) == []


def test_stripping_leaves_the_received_list_alone() -> None:
    headers: Headers = [(b"A", b"1"), (b"Upgrade", b"x")]
    for strip in (strip_hop_by_hop, without_framing):
        result = strip(headers)
        assert result is not headers
        result.clear()
        assert len(headers) == 2


def test_framing_fields_can_be_taken_off() -> None:
    headers: Headers = [
        (b"content-length", b"1"),
        (b"Content-Length-X", b"2"),
        (b"TRANSFER-ENCODING", b"chunked"),
    ]
    assert without_framing(headers) == [(b"Content-Length-X", b"2")]
