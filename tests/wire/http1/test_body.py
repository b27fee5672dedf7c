"""Bodies: chunked as requests under four cuts, rows 14 to 20."""

from __future__ import annotations

import time

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import Limits
from lapdev.wire.http1.body import NOT_YET, ChunkedBody, LengthBody, UntilCloseBody
from tests.support.http1_feed import Outcome, requests

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(body: bytes, limits: Limits | None = None) -> Outcome:
    return requests(HEAD + body, limits or Limits())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n", b"0123456789" * 2),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"1;a\r\nx\r\n0;b=c\r\n\r\n", b"x"),
        (b'1 ; a = b ;c="d \\" \xe9;e=f"; g\r\nx\r\n0\r\n\r\n', b"x"),
    ],
)
def test_chunks_are_decoded(body: bytes, expected: bytes) -> None:
    outcome = chunked(body)
    assert outcome.refused is None
    assert outcome.complete == 1
    assert outcome.messages[0].body == expected


@pytest.mark.parametrize(
    "line",
    [
        b"0x5",
        b"+5",
        b"-5",
        b"5_0",
        b" 5",
        b"5 ",
        b"5\t",
        b"",
        b"fffffffffffffffff",
        b"0_2e",
        b"1;",
        b"1;=x",
        b"1;a=",
        b'1;a="x',
        b'1;a="\x00"',
        b"1;a b",
        b"g",
        b"\xef\xbc\x95",
        b"5\x0b",
        b"5\x00",
    ],
)
def test_row_14_a_malformed_chunk_size_line_is_a_400(line: bytes) -> None:
    outcome = chunked(line + b"\r\nx\r\n0\r\n\r\n")
    assert outcome.refused == 400
    assert outcome.complete == 0
    assert chunked(b"1\r\nx\r\n" + line + b"\r\n\r\n").refused == 400


@pytest.mark.parametrize(
    "body",
    [
        b"2;\nXX\r\n0\r\n\r\n",
        b"2\nXX\r\n0\r\n\r\n",
        b"2;\rX",
        b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n",
        b'1;e="v\r\nX\r\n0\r\n\r\nGET /s',
        b"2;a\rb\r\nXX\r\n0\r\n\r\n",
    ],
)
def test_row_15_a_cr_or_lf_in_a_chunk_extension_is_a_400(body: bytes) -> None:
    assert chunked(body).refused == 400


@pytest.mark.parametrize("line", [b"x", b" ", b"5\rx", b"1;a\r\r"])
def test_a_size_line_that_cannot_become_right_is_refused_at_once(line: bytes) -> None:
    for pieces in ([line], [line[i : i + 1] for i in range(len(line))]):
        body = ChunkedBody(Limits())
        with pytest.raises(RemoteProtocolError):
            for piece in pieces:
                body.receive(piece, 0)


@pytest.mark.parametrize(
    "body", [b"3\r\nxxx__1a\r\n", b"3\r\nxxx\r_1a\r\n", b"3\r\nxxx_\n1a\r\n", b"3\r\nxxx\n\r\n"]
)
def test_row_16_chunk_data_is_followed_by_exactly_crlf(body: bytes) -> None:
    assert chunked(body).refused == 400


def test_row_17_an_empty_line_between_chunks_is_a_400() -> None:
    assert chunked(b"1\r\nx\r\n\r\n1\r\ny\r\n0\r\n\r\n").refused == 400
    assert chunked(b"0\r\nPOST / HTTP/1.1\r\n\r\n").refused == 400


def test_row_17_a_field_behind_the_last_chunk_is_a_trailer_and_nothing_else() -> None:
    """Puma took `X:POST /` for the next request. Here it is one message, with one trailer."""
    outcome = chunked(b"0\r\nX:POST / HTTP/1.1\r\n\r\n")
    assert outcome.complete == 1
    assert outcome.messages[0].trailers == [(b"X", b"POST / HTTP/1.1")]


def test_row_18_a_chunk_line_has_a_limit() -> None:
    assert chunked(b"1;" + b"a" * 4094 + b"\r\nx\r\n0\r\n\r\n").refused is None
    assert chunked(b"1;" + b"a" * 4095 + b"\r\nx\r\n0\r\n\r\n").refused == 400
    assert chunked(b"1;" + b"a" * 65_536 + b"\r\nx\r\n0\r\n\r\n").refused == 400
    endless = ChunkedBody(Limits())
    with pytest.raises(RemoteProtocolError, match="longer than 4096"):
        endless.receive(b"1;" + b"a" * 4096, 0)


def test_row_18_the_extensions_of_a_body_have_a_limit() -> None:
    limits = Limits(chunk_extensions_bytes=100)
    chunk = b"1;234567890\r\nx\r\n"  # ten bytes of extension
    assert chunked(chunk * 10 + b"0\r\n\r\n", limits).refused is None
    assert chunked(chunk * 10 + b"0;a\r\n\r\n", limits).refused == 400
    kib = b"1;%b\r\nx\r\n" % (b"a" * 1023)
    assert chunked(kib * 16 + b"0\r\n\r\n").refused is None
    assert chunked(kib * 17 + b"0\r\n\r\n").refused == 400


def test_row_19_tiny_chunks_leave_in_one_piece_and_cost_little() -> None:
    body = ChunkedBody(Limits())
    data = b"1\r\nx\r\n" * 50_000
    before = time.process_time()
    payload, end = body.receive(data, 0)
    assert time.process_time() - before < 2.0  # a microsecond each; quadratic would be minutes
    assert (payload, end) == (b"x" * 50_000, NOT_YET)


@pytest.mark.parametrize("name", [b"Content-Length", b"HOST", b"transfer-encoding"])
def test_row_20_a_trailer_that_would_frame_or_route_is_a_400(name: bytes) -> None:
    outcome = chunked(b"0\r\n" + name + b": 5\r\n\r\n")
    assert outcome.refused == 400
    assert outcome.complete == 0


@pytest.mark.parametrize("trailer", [b" x: y", b"x : y", b"x", b"x: \x00", b"x: y\rz: a"])
def test_a_malformed_trailer_is_a_400(trailer: bytes) -> None:
    assert chunked(b"0\r\n" + trailer + b"\r\n\r\n").refused == 400


def test_trailers_have_the_limits_of_a_head() -> None:
    limits = Limits(header_field_bytes=10, header_fields=2, header_block_bytes=24)
    for trailers, refused in (
        (b"a:%b\r\n" % (b"x" * 8), None),
        (b"a:%b\r\n" % (b"x" * 9), 431),
        (b"a:\r\nb:\r\n", None),
        (b"a:\r\nb:\r\nc:\r\n", 431),
        (b"a:%b\r\nb:%b\r\n" % (b"x" * 8, b"x" * 8), None),
    ):
        body = ChunkedBody(limits)
        try:
            _, end = body.receive(b"0\r\n" + trailers + b"\r\nrest", 0)
        except RemoteProtocolError as exc:
            assert exc.answer_status == refused
        else:
            assert refused is None
            assert end == 3 + len(trailers) + 2


def test_the_end_is_found_wherever_the_body_begins() -> None:
    body = ChunkedBody(Limits())
    assert body.receive(b"??3\r\nab", 2) == (b"ab", NOT_YET)
    assert body.receive(b"c\r\n0\r\n\r\nnext", 0) == (b"c", 8)
    body = ChunkedBody(Limits())
    assert body.receive(b"0\r\nA: b\r\n", 0) == (b"", NOT_YET)
    assert body.receive(b"\r\nnext", 0) == (b"", 2)
    assert body.trailers() == [(b"A", b"b")]


def test_a_length_body_ends_to_the_byte() -> None:
    body = LengthBody(5)
    assert body.receive(b"xxab", 2) == (b"ab", NOT_YET)
    assert body.receive(b"cdenext", 0) == (b"cde", 3)
    whole = b"abcde"
    payload, end = LengthBody(5).receive(whole, 0)
    assert payload is whole
    assert end == 5
    assert LengthBody(5).trailers() == []


def test_an_until_close_body_never_ends_by_itself() -> None:
    body = UntilCloseBody()
    assert body.receive(b"xab", 1) == (b"ab", NOT_YET)
    assert body.trailers() == []
