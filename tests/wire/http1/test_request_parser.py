"""Requests: bytes in, events out. Every dialogue runs under four cuts (support/http1_feed)."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.http1 import BodyEnd, Framing, RequestHead, RequestParser
from tests.support.http1_feed import requests

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + body


def refusal(data: bytes) -> int | None:
    """The status owed to `data`, which must not have been taken for a complete request."""
    outcome = requests(data)
    assert outcome.complete == 0 or outcome.refused is None
    return outcome.refused


# Heads


def test_a_plain_request_is_a_head_and_an_end() -> None:
    outcome = requests(
        b"GET /a/b?c=%20|{} HTTP/1.1\r\nHOST: App.Example.COM.:443\r\nX-Empty:\r\n"
        b"x-Odd: \t two  words \t\r\n\r\n"
    )
    assert outcome.refused is None
    assert outcome.complete == 1
    assert outcome.request == RequestHead(
        method=b"GET",
        target=b"/a/b?c=%20|{}",
        minor=1,
        headers=[(b"HOST", b"App.Example.COM.:443"), (b"X-Empty", b""), (b"x-Odd", b"two  words")],
        host=b"app.example.com",
    )


def test_obs_text_in_a_value_passes_byte_for_byte() -> None:
    head = requests(b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9 \xa0\r\n\r\n").request
    assert head.headers[1] == (b"X", b"caf\xc3\xa9 \xa0")


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive , CLOSE\r\n", False),
        (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_keep_alive_follows_version_and_connection(
    version: bytes, fields: bytes, keep_alive: bool
) -> None:
    head = requests(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n").request
    assert head.keep_alive is keep_alive


def test_two_empty_lines_may_come_before_a_request_and_a_third_may_not() -> None:
    assert requests(b"\r\n\r\n" + GET).complete == 1
    assert refusal(b"\r\n\r\n\r\n" + GET) == 400


def test_an_old_client_may_send_an_empty_line_behind_its_body() -> None:
    outcome = requests(post(b"Content-Length: 1\r\n", b"x\r\n") + GET)
    assert outcome.refused is None
    assert outcome.complete == 2


# Row 26


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"CONNECT host:443 HTTP/1.1", 405),
        (b"TRACE / HTTP/1.1", 405),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /", 400),
        (b"GET / HTTP/1.32", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/9.9", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / http/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/1.1 x", 400),
        (b" GET / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / RTSP/1.0", 400),
    ],
)
def test_row_26_a_request_line_we_do_not_serve_is_answered_at_once(
    line: bytes, status: int
) -> None:
    parser = RequestParser()
    with pytest.raises(RemoteProtocolError) as refused:
        parser.receive_data(line + b"\r\n")  # no empty line yet: nobody waits for one
    assert refused.value.answer_status == status
    assert refusal(line + b"\r\nHost: a\r\n\r\n") == status


def test_the_http2_preface_is_a_505() -> None:
    assert refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505


def test_a_tls_hello_is_refused_with_its_first_octet() -> None:
    parser = RequestParser()
    with pytest.raises(RemoteProtocolError, match="0x16"):
        parser.receive_data(b"\x16\x03\x01")


# Rows 9 to 13


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding : chunked",  # row 9
        b"Content-Length\t: 5",
        b"X\x85: 5",
        b" folded",  # row 10
        b"\tfolded: x",
        b"X: a\rTransfer-Encoding: chunked",  # row 11
        b"X: a\r",
        b"\rX: a",  # row 12
        b"X\x00: a",  # row 13
        b"X: a\x00b",
        b"X: a\x07b",
        b"X: a\x7fb",
        b"X: a\x0bb",
        b"\xc3\x9f: x",
        b": x",
        b"no colon",
        *(b"X%c: a" % octet for octet in b'(),/;<=>?@[\\]{}"'),
    ],
)
def test_rows_9_to_13_a_malformed_field_line_is_a_400(line: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert refusal(head + line + b"\r\n\r\n") == 400
    assert refusal(head + line + b"\r\nX: y\r\n\r\n") == 400
    assert refusal(b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: a\r\n\r\n") == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    ],
)
def test_rows_11_and_12_only_crlf_ends_a_line(data: bytes) -> None:
    assert refusal(data) == 400


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\r\nHost: a\r\rX"])
def test_a_line_that_can_no_longer_become_right_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        RequestParser().receive_data(data)


# Rows 1 to 9: framing


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", {400}),  # row 1
        (b"TRANSFER-ENCODING: Chunked\r\ncontent-length: 5\r\n", {400}),
        (b"Content-Length: 0\r\nContent-Length: 31\r\n", {400}),  # row 2
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", {400}),  # row 3
        (b"Content-Length: 5, 5\r\n", {400}),
        *(
            (b"Content-Length: " + value + b"\r\n", {400})  # row 4
            for value in (
                *b"+5 -0 0x10 1_0 5,5 010 5e0 5.0 -1 00".split(),
                *(b"5 5", b"", b"1" * 19, b"1" * 21, "\uff15".encode(), b"5\x0b", b"5 \xa0"),
            )
        ),
        *(
            (b"Transfer-Encoding: " + value + b"\r\n", {400, 501})  # row 5
            for value in (
                b"xchunked",
                b"chunk",
                b"chunked, identity",
                b"identity, chunked",
                b"gzip, chunked",
                b",chunked",
                b'"chunked"',
                b"chunked;q=1",
                b"",
                b"identity",
            )
        ),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", {400}),  # row 6
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", {400, 501}),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", {400, 501}),
        (b"Transfer-Encoding:\x0bchunked\r\n", {400}),  # row 8
        (b"Transfer-Encoding: \xa0chunked\r\n", {400}),
        (b"Transfer-Encoding: \x85chunked\r\n", {400}),
        (b"Transfer-Encoding: chunked\x00\r\n", {400}),
        (b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", {400}),
        (b"Transfer-Encoding:\r\n chunked\r\n", {400}),  # row 10
    ],
)
def test_rows_1_to_8_ambiguous_framing_is_refused(fields: bytes, statuses: set[int]) -> None:
    assert refusal(post(fields, b"0\r\n\r\n")) in statuses


def test_row_7_transfer_encoding_in_http_1_0_is_refused() -> None:
    head = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(head + b"0\r\n\r\n") == 400


def test_a_body_of_known_length_arrives() -> None:
    outcome = requests(post(b"Content-Length: 11\r\n", b"hello world"))
    assert outcome.request.framing is Framing.LENGTH
    assert outcome.request.content_length == 11
    assert outcome.messages[0].body == b"hello world"
    assert outcome.complete == 1


def test_a_declared_length_of_zero_stays_declared() -> None:
    outcome = requests(post(b"Content-Length: 0\r\n") + GET)
    first = outcome.messages[0].head
    assert isinstance(first, RequestHead)
    assert (first.framing, first.content_length) == (Framing.LENGTH, 0)
    assert outcome.complete == 2
    assert outcome.refused is None


def test_row_23_a_get_may_have_a_body() -> None:
    outcome = requests(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789" + GET)
    assert [message.body for message in outcome.messages] == [b"0123456789", b""]


def test_a_chunked_body_arrives_with_its_trailers() -> None:
    outcome = requests(
        post(
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n006;a=b\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
        )
    )
    assert outcome.request.framing is Framing.CHUNKED
    assert outcome.messages[0].body == b"hello world"
    assert outcome.messages[0].trailers == [(b"X-Sum", b"1")]


def test_row_20_other_trailers_never_become_headers() -> None:
    trailers = b"Authorization: x\r\ntracestate: a=b\r\n"
    outcome = requests(post(b"Transfer-Encoding: chunked\r\n", b"0\r\n" + trailers + b"\r\n"))
    assert outcome.request.headers == [(b"Host", b"a"), (b"Transfer-Encoding", b"chunked")]
    assert outcome.messages[0].trailers == [(b"Authorization", b"x"), (b"tracestate", b"a=b")]


def test_a_large_body_is_handed_on_without_a_copy() -> None:
    parser = RequestParser()
    parser.receive_data(post(b"Content-Length: 200000\r\n"))
    piece = bytes(100_000)
    [event] = parser.receive_data(piece)
    assert event is piece


# Row 22


def test_expect_100_continue_is_noted_where_a_body_follows() -> None:
    fields = b"Expect: 100-Continue\r\n"
    assert requests(post(fields + b"Content-Length: 1\r\n", b"x")).request.expect_continue
    assert requests(post(fields + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")).request
    assert not requests(post(fields)).request.expect_continue
    assert not requests(post(fields + b"Content-Length: 0\r\n")).request.expect_continue
    old = b"POST / HTTP/1.0\r\n" + fields + b"Content-Length: 1\r\n\r\nx"
    assert not requests(old).request.expect_continue


@pytest.mark.parametrize(
    "fields",
    [
        b"Expect: x 100-continue\r\n",
        b"Expect: 200-ok\r\n",
        b"Expect:\r\n",
        b"Expect: 100-continue, x\r\n",
        b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
    ],
)
def test_row_22_any_other_expectation_is_a_417(fields: bytes) -> None:
    assert refusal(post(fields + b"Content-Length: 1\r\n", b"x")) == 417


# Rows 24 and 25


def upgrade(value: bytes, connection: bytes = b"Upgrade", version: bytes = b"1.1") -> bytes:
    return b"GET /ws HTTP/%b\r\nHost: a\r\nConnection: %b\r\nUpgrade: %b\r\n\r\n" % (
        version,
        connection,
        value,
    )


def test_row_24_bytes_behind_an_upgrade_request_are_held_unparsed() -> None:
    smuggled = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
    parser = RequestParser()
    head, end = parser.receive_data(upgrade(b"WebSocket") + smuggled)
    assert isinstance(head, RequestHead)
    assert isinstance(end, BodyEnd)
    assert head.upgrade == b"websocket"
    assert parser.trailing_data == smuggled
    assert not parser.idle
    # Refused upgrade: they are the next request, told as one, to be authorised afresh.
    [next_head, _] = parser.start_next()
    assert isinstance(next_head, RequestHead)
    assert next_head.target == b"/admin"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (upgrade(b"websocket", b"keep-alive, UPGRADE"), b"websocket"),
        (upgrade(b"websocket", b"keep-alive"), b""),
        (upgrade(b"websocket", version=b"1.0"), b""),
        (upgrade(b"h2c"), b""),  # row 25
        (upgrade(b"H2C, websocket"), b"websocket"),
        (upgrade(b"foo/2, bar"), b"foo/2, bar"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", b""),
    ],
)
def test_row_25_an_upgrade_counts_if_connection_names_it_and_it_is_not_h2c(
    data: bytes, expected: bytes
) -> None:
    assert requests(data).request.upgrade == expected


# Rows 31, 33 and 36: the whole tables stand in test_target.py


def test_row_31_http_1_1_needs_exactly_one_host() -> None:
    assert refusal(b"GET / HTTP/1.1\r\n\r\n") == 400
    assert refusal(b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n") == 400
    assert refusal(b"GET / HTTP/1.1\r\nHost:\r\n\r\n") == 400
    assert refusal(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == 400
    assert requests(b"GET / HTTP/1.0\r\n\r\n").request.host == b""


def test_row_33_an_absolute_form_decides_host_and_host_field() -> None:
    head = requests(
        b"GET http://Other:8080/p?q HTTP/1.1\r\nX: y\r\nHost: mine\r\nA: b\r\n\r\n"
    ).request
    assert head.host == b"other"
    assert head.target == b"/p?q"
    assert head.headers == [(b"Host", b"Other:8080"), (b"X", b"y"), (b"A", b"b")]


def test_an_absolute_form_in_http_1_0_makes_the_host_field() -> None:
    head = requests(b"GET http://other HTTP/1.0\r\n\r\n").request
    assert (head.host, head.target) == (b"other", b"/")
    assert head.headers == [(b"Host", b"other")]


def test_an_absolute_form_does_not_excuse_a_bad_host_field() -> None:
    assert refusal(b"GET http://other/ HTTP/1.1\r\n\r\n") == 400
    assert refusal(b"GET http://other/ HTTP/1.1\r\nHost: a b\r\n\r\n") == 400


def test_a_second_request_with_another_host_has_its_own(  # row 35
) -> None:
    one, two, three = requests(GET + GET.replace(b": a", b": b") + GET).messages
    assert [m.head.host for m in (one, two, three)] == [b"a", b"b", b"a"]  # type: ignore[union-attr]


# The parser's own manners


def test_a_parser_pauses_behind_each_message() -> None:
    parser = RequestParser()
    assert parser.idle
    assert not parser.in_head
    assert len(parser.receive_data(GET[:5])) == 0
    assert parser.in_head
    assert not parser.idle
    assert len(parser.receive_data(GET[5:] + GET)) == 2
    assert not parser.in_head
    assert not parser.idle
    assert parser.receive_data(b"more") == []
    assert parser.trailing_data == GET + b"more"
    assert len(parser.start_next()) == 2
    assert parser.trailing_data == b"more"
    assert parser.start_next() == []
    assert parser.in_head


def test_empty_lines_are_no_message() -> None:
    parser = RequestParser()
    assert parser.receive_data(b"\r\n") == []
    assert parser.idle
    assert not parser.in_head
    assert parser.receive_eof() == []


def test_a_body_is_neither_idle_nor_head() -> None:
    parser = RequestParser()
    parser.receive_data(post(b"Content-Length: 2\r\n", b"x"))
    assert not parser.idle
    assert not parser.in_head
    with pytest.raises(LocalProtocolError):
        parser.start_next()


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        post(b"Content-Length: 2\r\n", b"x"),
        post(b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n"),
        post(b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n"),
    ],
)
def test_row_21_the_end_in_the_middle_of_a_request_is_a_400(data: bytes) -> None:
    assert refusal(data) == 400


def test_the_end_between_requests_is_no_error() -> None:
    parser = RequestParser()
    assert parser.receive_eof() == []
    parser = RequestParser()
    parser.receive_data(GET + GET)
    assert parser.receive_eof() == []  # the second one is there, and is still to be served
    assert len(parser.start_next()) == 2


def test_a_cut_request_behind_a_complete_one_shows_when_its_turn_comes() -> None:
    parser = RequestParser()
    parser.receive_data(GET + GET[:-2])
    assert parser.receive_eof() == []
    with pytest.raises(RemoteProtocolError, match="middle of a request"):
        parser.start_next()


def test_row_28_garbage_behind_a_request_does_not_spoil_it() -> None:
    parser = RequestParser()
    head, _ = parser.receive_data(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\x00\xffgarbage"
    )
    assert isinstance(head, RequestHead)
    assert not head.keep_alive


def test_a_parser_that_refused_keeps_refusing() -> None:
    parser = RequestParser()
    with pytest.raises(RemoteProtocolError) as first:
        parser.receive_data(b"GET / HTTP/9.9\r\n")
    for attempt in (lambda: parser.receive_data(GET), parser.receive_eof, parser.start_next):
        with pytest.raises(RemoteProtocolError) as again:
            attempt()
        assert again.value is first.value
    assert not parser.idle
    assert parser.trailing_data == b""
