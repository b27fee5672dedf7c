"""Limits of a request head: exactly at the limit passes, one above fails, also in single bytes."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import Limits, RequestParser
from tests.support.http1_feed import requests

SMALL = Limits(
    request_line_bytes=30, header_block_bytes=100, header_fields=4, header_field_bytes=40
)


@pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 414), (2, 414), (50, 414)])
def test_the_request_line_has_a_limit(excess: int, status: int | None) -> None:
    target = b"/" + b"a" * (30 - len(b"GET / HTTP/1.1") + excess)
    outcome = requests(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", SMALL)
    assert outcome.refused == status


@pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 431), (2, 431), (500, 431)])
def test_a_header_field_has_a_limit(excess: int, status: int | None) -> None:
    field = b"X: " + b"a" * (40 - 3 + excess)
    outcome = requests(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n", SMALL)
    assert outcome.refused == status


@pytest.mark.parametrize(("excess", "status"), [(0, None), (1, 431), (2, 431)])
def test_the_header_block_has_a_limit(excess: int, status: int | None) -> None:
    block = b"Host: a\r\n" + b"B: %b\r\n" % (b"b" * 35) + b"C: %b\r\n" % (b"c" * 35)
    last = b"D:" + b"d" * (100 - len(block) - 4 + excess)
    data = b"GET / HTTP/1.1\r\n" + block + last + b"\r\n\r\n"
    assert requests(data, SMALL).refused == status


def test_the_number_of_fields_has_a_limit() -> None:
    def fields(count: int) -> bytes:
        return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\r\n" * (count - 1) + b"\r\n"

    assert requests(fields(4), SMALL).refused is None
    assert requests(fields(5), SMALL).refused == 431


def test_an_endless_line_is_refused_before_it_ends() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        RequestParser(SMALL).receive_data(b"GET /" + b"a" * 27)
    assert refused.value.answer_status == 414
    with pytest.raises(RemoteProtocolError) as refused:
        RequestParser(SMALL).receive_data(b"GET / HTTP/1.1\r\nX: " + b"a" * 39)
    assert refused.value.answer_status == 431


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * (8192 - 14) + b" HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET /" + b"a" * (8193 - 14) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b"x" * 16_382 + b"\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b"x" * 16_383 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 99 + b"\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
    ],
)
def test_row_85_the_public_limits_hold_also_in_single_bytes(
    head: bytes, status: int | None
) -> None:
    assert requests(head).refused == status


def test_row_85_a_block_of_32_kib_passes_and_one_byte_more_does_not() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A:%b\r\n" % (b"a" * 16_000)
    room = 32_768 - (len(start) - 16)
    assert requests(start + b"B:" + b"b" * (room - 4 - 2) + b"\r\n\r\n").refused == 431
    b1 = b"B:%b\r\n" % (b"b" * 8_000)
    last = b"C:" + b"c" * (room - len(b1) - 4)
    assert requests(start + b1 + last + b"\r\n\r\n").refused is None
    assert requests(start + b1 + last + b"c\r\n\r\n").refused == 431


def test_a_head_in_single_bytes_is_looked_at_once() -> None:
    """Quadratic rescanning would take minutes here."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 16_000 + b"\r\nY: " + b"y" * 16_000
    parser = RequestParser()
    for index in range(len(head)):
        assert parser.receive_data(head[index : index + 1]) == []
    assert len(parser.receive_data(b"\r\n\r\n")) == 2
