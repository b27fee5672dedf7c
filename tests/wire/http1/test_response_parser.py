"""Responses: bytes in, events out. Every dialogue runs under four cuts (support/http1_feed)."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.http1 import BodyEnd, Framing, Limits, ResponseHead, ResponseParser
from tests.support.http1_feed import response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def expecting(method: bytes = b"GET") -> ResponseParser:
    parser = ResponseParser()
    parser.expect(method)
    return parser


def test_a_plain_response_is_head_body_and_end() -> None:
    outcome = response(OK)
    assert outcome.refused is None
    assert outcome.response == ResponseHead(
        status=200,
        reason=b"OK",
        headers=[(b"Content-Length", b"2")],
        minor=1,
        framing=Framing.LENGTH,
        content_length=2,
    )
    assert outcome.messages[0].body == b"ok"
    assert outcome.complete == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.0 200 a  b\t\xc3\xab", b"a  b\t\xc3\xab"),
    ],
)
def test_the_reason_may_be_anything_or_nothing(line: bytes, reason: bytes) -> None:
    assert response(line + b"\r\nContent-Length: 0\r\n\r\n").response.reason == reason


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 600 OK",
        b"HTTP/1.1 999 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200 O\x00K",
        b"ICY 200 OK",
        b"",
    ],
)
def test_row_29_a_bad_status_line_is_refused_at_once(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        expecting().receive_data(line + b"\r\n")
    assert response(line + b"\r\nContent-Length: 0\r\n\r\n").refused == 400


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: foo\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"X: a\x00b\r\n",
        b"X: a\nb\r\n",
        b"X: a\r\n b\r\n",
        b"X : a\r\n",
        b"X: " + b"a" * 65_536 + b"\r\n",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_row_29_a_head_that_can_be_read_in_two_ways_is_refused(
    fields: bytes, method: bytes
) -> None:
    outcome = response(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nok", method)
    assert outcome.refused is not None
    assert outcome.messages == []


def test_transfer_encoding_in_an_http_1_0_response_is_refused() -> None:
    data = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert response(data).refused == 400


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"HEAD", 404)]
)
@pytest.mark.parametrize(
    "fields", [b"", b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_some_answers_have_no_body_whatever_their_fields_say(
    method: bytes, status: int, fields: bytes
) -> None:
    outcome = response(b"HTTP/1.1 %d x\r\n%b\r\n" % (status, fields), method)
    assert outcome.refused is None
    assert outcome.complete == 1
    assert outcome.response.framing is Framing.NONE
    assert outcome.response.keep_alive


def test_row_30_a_body_where_none_can_be_is_surplus() -> None:
    outcome = response(b"HTTP/1.1 204 No Content\r\n\r\nbody")
    assert outcome.complete == 1
    assert outcome.refused == 400


def test_a_chunked_response_arrives_with_its_trailers() -> None:
    outcome = response(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n"
        b'4\r\nwiki\r\nA;x="\\"y"\r\n0123456789\r\n0\r\nGrpc-Status: 0\r\n\r\n'
    )
    assert outcome.messages[0].body == b"wiki0123456789"
    assert outcome.messages[0].trailers == [(b"Grpc-Status", b"0")]


def test_a_response_without_length_ends_with_the_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nall of it"
    outcome = response(data)
    assert outcome.response.framing is Framing.UNTIL_CLOSE
    assert not outcome.response.keep_alive
    assert outcome.messages[0].body == b"all of it"
    assert outcome.complete == 1
    assert response(data, eof=False).complete == 0
    parser = expecting()
    parser.receive_data(data)
    assert parser.receive_eof() == [BodyEnd()]
    assert parser.receive_eof() == []


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_connection(data: bytes, keep_alive: bool) -> None:
    assert response(data).response.keep_alive is keep_alive


def test_an_empty_answer_keeps_its_declared_length() -> None:
    """Forwarded without it, a 302 would have no end on a kept connection."""
    outcome = response(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    assert outcome.complete == 1
    assert (outcome.response.framing, outcome.response.content_length) == (Framing.LENGTH, 0)


# Informational answers


def test_informational_heads_come_before_the_final_one() -> None:
    outcome = response(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK
    )
    assert [m.head.status for m in outcome.messages] == [100, 103, 200]  # type: ignore[union-attr]
    assert [m.complete for m in outcome.messages] == [False, False, True]


def test_row_29_endless_informational_answers_are_refused() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert response(early * 8 + OK).complete == 1
    outcome = response(early * 9 + OK)
    assert outcome.refused == 400
    assert len(outcome.messages) == 8


def test_the_count_of_informational_answers_starts_anew_with_each_request() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    parser = ResponseParser()
    for _ in range(3):
        parser.expect(b"GET")
        assert len(parser.receive_data(early * 8 + OK)) == 11


def test_behind_a_101_all_bytes_belong_to_the_new_protocol() -> None:
    outcome = response(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert outcome.refused is None
    assert outcome.response.framing is Framing.SWITCHED
    assert outcome.messages[0].body == b"HTTP/1.1 200 OK\r\n"
    assert outcome.complete == 0


def test_a_switched_parser_is_never_idle_again() -> None:
    parser = expecting()
    parser.receive_data(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert not parser.idle
    with pytest.raises(LocalProtocolError):
        parser.expect(b"GET")


def test_row_29_a_101_nobody_asked_for_is_refused() -> None:
    assert response(b"HTTP/1.1 101 x\r\n\r\n", upgrade=False).refused == 400


# Row 30


def test_row_30_surplus_in_the_same_piece_does_not_take_the_answer_away() -> None:
    parser = expecting()
    events = parser.receive_data(OK + b"HTTP/1.1 200 OK\r\n\r\nfor somebody else")
    assert events[1:] == [b"ok", BodyEnd()]
    assert not parser.idle
    for attempt in (lambda: parser.expect(b"GET"), lambda: parser.receive_data(b"x")):
        with pytest.raises(RemoteProtocolError):
            attempt()


def test_row_30_surplus_in_a_later_piece_is_refused() -> None:
    parser = expecting()
    parser.receive_data(OK)
    assert parser.idle
    with pytest.raises(RemoteProtocolError):
        parser.receive_data(b"H")
    assert not parser.idle


def test_bytes_before_any_request_are_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        ResponseParser().receive_data(b"HTTP/1.1 408 Request Timeout\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    ],
)
def test_row_30_a_cut_answer_is_an_error_and_never_an_end(data: bytes) -> None:
    outcome = response(data)
    assert outcome.refused == 400
    assert outcome.complete == 0


def test_a_connection_that_closes_before_an_answer_says_so() -> None:
    with pytest.raises(RemoteProtocolError, match="before the response"):
        expecting().receive_eof()
    parser = expecting()
    parser.receive_data(b"H")
    with pytest.raises(RemoteProtocolError, match="in the middle of the response"):
        parser.receive_eof()


def test_the_end_of_an_idle_connection_is_no_error() -> None:
    assert ResponseParser().receive_eof() == []
    parser = expecting()
    parser.receive_data(OK)
    assert parser.receive_eof() == []


# Manners


def test_requests_follow_one_another() -> None:
    parser = ResponseParser()
    for method in (b"GET", b"HEAD", b"GET"):
        assert parser.idle
        parser.expect(method)
        assert not parser.idle
        body = b"" if method == b"HEAD" else b"ok"
        assert parser.receive_data(OK[: len(OK) - 2] + body)[-1] == BodyEnd()


def test_an_answer_cannot_be_expected_before_the_last_one_is_complete() -> None:
    parser = expecting()
    with pytest.raises(LocalProtocolError):
        parser.expect(b"GET")


def test_a_large_body_is_handed_on_without_a_copy() -> None:
    for fields in (b"Content-Length: 200000\r\n", b""):
        parser = expecting()
        parser.receive_data(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
        piece = bytes(100_000)
        [event] = parser.receive_data(piece)
        assert event is piece


SMALL = Limits(
    request_line_bytes=30, header_block_bytes=100, header_fields=3, header_field_bytes=60
)


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        (b"HTTP/1.1 200 %b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 17), False),
        (b"HTTP/1.1 200 %b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 18), True),
        (b"HTTP/1.1 204 \r\nX:%b\r\n\r\n" % (b"x" * 58), False),
        (b"HTTP/1.1 204 \r\nX:%b\r\n\r\n" % (b"x" * 59), True),
        (b"HTTP/1.1 204 \r\nX:%b\r\nY:%b\r\n\r\n" % (b"x" * 58, b"y" * 34), False),
        (b"HTTP/1.1 204 \r\nX:%b\r\nY:%b\r\n\r\n" % (b"x" * 58, b"y" * 35), True),
        (b"HTTP/1.1 204 \r\n" + b"X:\r\n" * 3 + b"\r\n", False),
        (b"HTTP/1.1 204 \r\n" + b"X:\r\n" * 4 + b"\r\n", True),
    ],
)
def test_limits_hold_to_the_byte(data: bytes, refused: bool) -> None:
    assert (response(data, limits=SMALL).refused is not None) is refused


def test_a_long_head_that_came_whole_behind_another_is_scanned_in_place() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: %b\r\n\r\nok" % (b"x" * 70)
    parser = ResponseParser(Limits(header_field_bytes=75))
    parser.expect(b"GET")
    events = parser.receive_data(b"HTTP/1.1 100 \r\n\r\n" + long)
    assert len(events) == 4
    assert parser.idle
