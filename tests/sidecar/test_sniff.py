"""First bytes in, verdict out; every case also one byte at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.sidecar.sniff import METHOD_BYTES, TARGET_BYTES, Sniffer, Verdict

CASES = [
    (b"", Verdict.MORE),
    (b"G", Verdict.MORE),
    (b"GET ", Verdict.MORE),
    (b"GET / HTTP/1", Verdict.MORE),
    (b"GET / HTTP/1.", Verdict.HTTP),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict.HTTP),
    (b"POST /a?b=c HTTP/1.0\r\n", Verdict.HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", Verdict.HTTP),
    (b"VERSION-CONTROL /a HTTP/1.1\r\n", Verdict.HTTP),
    (b"GET http://a/ HTTP/1.1\r\n", Verdict.HTTP),
    (b"GET /\xc3\xa9 HTTP/1.1\r\n", Verdict.HTTP),
    (b"GET / HTTP/1.1\n", Verdict.HTTP),  # a bad head is for the parser to refuse
    # Not HTTP/1
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Verdict.RAW),
    (b"GET / HTTP/2", Verdict.RAW),
    (b"GET /\r\n", Verdict.RAW),  # HTTP/0.9
    (b"GET /\x00", Verdict.RAW),
    (b"GET  / HTTP/1.1", Verdict.RAW),
    (b"GET\t/ HTTP/1.1", Verdict.RAW),
    (b"get / HTTP/1.1", Verdict.RAW),
    (b" GET", Verdict.RAW),
    (b"-ERR no\r\n", Verdict.RAW),
    (b"\r\nGET / HTTP/1.1", Verdict.RAW),
    # Other protocols' first bytes
    (b"*1\r\n$4\r\nPING\r\n", Verdict.RAW),  # Redis
    (b"PING\r\n", Verdict.RAW),  # Redis, inline
    (b"EHLO localhost\r\n", Verdict.RAW),  # SMTP
    (b"CONNECT {}\r\n", Verdict.RAW),  # NATS
    (b"AMQP\x00\x00\x09\x01", Verdict.RAW),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Verdict.RAW),  # PostgreSQL SSLRequest
    (b"\x16\x03\x01", Verdict.RAW),  # TLS
    (b"A" * METHOD_BYTES, Verdict.MORE),
    (b"A" * (METHOD_BYTES + 1), Verdict.RAW),
    (b"GET /" + b"a" * (TARGET_BYTES - 1), Verdict.MORE),
    (b"GET /" + b"a" * TARGET_BYTES, Verdict.HTTP),
    (b"AUTH " + b"a" * (TARGET_BYTES + 1), Verdict.RAW),
]


@pytest.mark.parametrize(("data", "verdict"), CASES, ids=[repr(case[0][:30]) for case in CASES])
def test_first_bytes_tell_http_from_everything_else(data: bytes, verdict: Verdict) -> None:
    assert Sniffer().feed(data) is verdict
    slowly = Sniffer()
    for position in range(len(data)):
        slowly.feed(data[position : position + 1])
    assert slowly.verdict is verdict


@given(st.binary(max_size=64), st.integers(0, 64))
def test_where_a_read_ends_makes_no_difference(data: bytes, cut: int) -> None:
    parts = Sniffer()
    parts.feed(data[:cut])
    assert parts.feed(data[cut:]) is Sniffer().feed(data)


@given(st.binary(max_size=32), st.binary(max_size=32))
def test_a_verdict_never_changes(first: bytes, rest: bytes) -> None:
    sniffer = Sniffer()
    verdict = sniffer.feed(first)
    if verdict is not Verdict.MORE:
        assert sniffer.feed(rest) is verdict
