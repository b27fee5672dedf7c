"""The fuzz law: any input gives events or RemoteProtocolError, the same however it is cut."""

from __future__ import annotations

import itertools
import re

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lapdev.wire.http1 import (
    BodyEnd,
    Framing,
    Headers,
    Limits,
    RequestHead,
    ResponseHead,
    ResponseParser,
    chunk_bytes,
    framing_headers,
    last_chunk_bytes,
    request_bytes,
    response_bytes,
)
from tests.support.http1_feed import (
    Outcome,
    request_outcome,
    requests,
    response,
)

pytestmark = pytest.mark.slow

LAW = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

# Words an attacker writes with. Random octets alone would never get past the first line.
WORDS = [
    *(b"GET ", b"POST ", b"/", b"http://h", b"*", b"?", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0"),
    *(b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"\x00", b"\xff"),
    *(b"Host: a\r\n", b"Host: b\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n"),
    *(
        b"0",
        b"1",
        b"5",
        b"a",
        b"ff",
        b"x" * 30,
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b';a="b"',
        b"X: y\r\n",
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n", b"HTTP/1.1 204 \r\n", b"HTTP/1.0 200\r\n"),
]
SMALL = Limits(
    request_line_bytes=40,
    header_block_bytes=90,
    header_fields=4,
    header_field_bytes=45,
    chunk_line_bytes=20,
    chunk_extensions_bytes=30,
)
soup = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=25).map(b"".join)
limits = st.sampled_from([Limits(), SMALL])
valid_starts = st.sampled_from(
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"",
    ]
)
valid_answers = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 103 \r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"",
    ]
)


@LAW
@given(valid_starts, soup, limits)
def test_any_bytes_are_requests_or_refused_however_they_are_cut(
    start: bytes, rest: bytes, limit: Limits
) -> None:
    requests(start + rest, limit)


@LAW
@given(valid_answers, soup, limits, st.sampled_from([b"GET", b"HEAD"]))
def test_any_bytes_are_a_response_or_refused_however_they_are_cut(
    start: bytes, rest: bytes, limit: Limits, method: bytes
) -> None:
    response(start + rest, method, limit)


@LAW
@given(st.data(), valid_starts, soup)
def test_a_random_cut_gives_what_single_bytes_give(
    data: st.DataObject, start: bytes, rest: bytes
) -> None:
    whole = start + rest
    places = data.draw(st.sets(st.integers(0, len(whole)), max_size=6))
    edges = [0, *sorted(places), len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges) if a < b]
    cut = request_outcome(pieces)
    single = request_outcome([whole[i : i + 1] for i in range(len(whole))])
    assert cut.refused == single.refused
    assert cut.begins_like(single)


# Valid messages: ours and h11's reading must be one

tokens = st.from_regex(rb"\A[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~\-]{0,12}\Z")
values = st.from_regex(rb"\A(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?\Z")
targets = st.from_regex(rb'\A/[A-Za-z0-9._~%&=?/@:!$\'()*+,;"|{}\-]{0,30}\Z').filter(
    lambda target: b"%00" not in target and not target.startswith(b"//")
)
RESERVED = re.compile(
    rb"host|content-length|transfer-encoding|connection|upgrade|expect|keep-alive", re.IGNORECASE
)
fields = st.lists(
    st.tuples(tokens.filter(lambda name: not RESERVED.fullmatch(name)), values), max_size=6
)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


def body_bytes(framing: Framing, pieces: list[bytes], trailers: Headers) -> bytes:
    if framing is Framing.CHUNKED:
        return b"".join(map(chunk_bytes, pieces)) + last_chunk_bytes(trailers)
    return b"".join(pieces)


def read_by_h11(connection: h11.Connection, data: bytes) -> tuple[object, bytes, Headers]:
    connection.receive_data(data)
    head = connection.next_event()
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return head, body, list(event.headers.raw_items())


@LAW
@given(tokens, targets, fields, bodies, st.sampled_from(["none", "length", "chunked"]), fields)
def test_h11_reads_our_requests_as_we_do(
    method: bytes, target: bytes, extra: Headers, body: list[bytes], kind: str, trailers: Headers
) -> None:
    if method in (b"CONNECT", b"TRACE"):
        return
    framing = {"none": Framing.NONE, "length": Framing.LENGTH, "chunked": Framing.CHUNKED}[kind]
    body = [] if framing is Framing.NONE else body
    trailers = trailers if framing is Framing.CHUNKED else []
    headers = [(b"Host", b"a"), *framing_headers(framing, len(b"".join(body))), *extra]
    data = request_bytes(RequestHead(method, target, 1, headers, b"a"))
    data += body_bytes(framing, body, trailers)
    outcome = requests(data)
    assert outcome.refused is None
    head = outcome.request
    [message] = outcome.messages
    theirs, their_body, their_trailers = read_by_h11(h11.Connection(h11.SERVER), data)
    assert isinstance(theirs, h11.Request)
    assert (head.method, head.target) == (theirs.method, theirs.target)
    assert head.headers == list(theirs.headers.raw_items()) == headers
    assert message.body == their_body == b"".join(body)
    assert message.trailers == their_trailers == trailers


@LAW
@given(
    st.sampled_from([200, 201, 204, 304, 404, 500]),
    fields,
    bodies,
    st.sampled_from([Framing.LENGTH, Framing.CHUNKED, Framing.UNTIL_CLOSE]),
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_h11_reads_our_responses_as_we_do(
    status: int, extra: Headers, body: list[bytes], framing: Framing, method: bytes
) -> None:
    headers = [*framing_headers(framing, len(b"".join(body))), *extra]
    data = response_bytes(ResponseHead(status, b"Why", headers))
    if method != b"HEAD" and status not in (204, 304):
        data += body_bytes(framing, body, [])
    outcome: Outcome = response(data, method)
    assert outcome.refused is None
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    theirs = client.next_event()
    assert isinstance(theirs, h11.Response)
    their_body = b""
    while isinstance(event := client.next_event(), h11.Data):
        their_body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert outcome.response.status == theirs.status_code
    assert outcome.response.headers == list(theirs.headers.raw_items())
    assert outcome.messages[0].body == their_body


@LAW
@given(st.lists(st.tuples(bodies, st.booleans()), min_size=1, max_size=4))
def test_our_client_side_reads_what_our_server_side_wrote(
    exchanges: list[tuple[list[bytes], bool]],
) -> None:
    parser = ResponseParser()
    for pieces, chunked in exchanges:
        framing = Framing.CHUNKED if chunked else Framing.LENGTH
        headers = framing_headers(framing, len(b"".join(pieces)))
        parser.expect(b"GET")
        events = parser.receive_data(
            response_bytes(ResponseHead(200, b"", headers)) + body_bytes(framing, pieces, [])
        )
        assert b"".join(e for e in events if isinstance(e, bytes)) == b"".join(pieces)
        assert events[-1] == BodyEnd()
        assert parser.idle
