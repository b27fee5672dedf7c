"""RFC 9112 §6.3 step by step. Refusals stand in the parsers' tests, as bytes."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import Framing, Headers
from lapdev.wire.http1.framing import (
    collect_facts,
    connection_options,
    keeps_alive,
    request_framing,
    response_framing,
)

CHUNKED: Headers = [(b"Transfer-Encoding", b"chunked")]
FIVE: Headers = [(b"Content-Length", b"5")]
ZERO: Headers = [(b"Content-Length", b"0")]


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        (CHUNKED, (Framing.CHUNKED, 0)),  # 4
        (FIVE, (Framing.LENGTH, 5)),  # 6
        (ZERO, (Framing.LENGTH, 0)),
        ([], (Framing.NONE, 0)),  # 7
    ],
)
def test_a_request_is_framed_by_the_first_step_that_applies(
    headers: Headers, framing: tuple[Framing, int]
) -> None:
    assert request_framing(collect_facts(headers), 1) == framing


@pytest.mark.parametrize(
    ("method", "status", "headers", "framing"),
    [
        (b"HEAD", 200, FIVE, (Framing.NONE, 0)),  # 1
        (b"GET", 100, FIVE, (Framing.NONE, 0)),
        (b"GET", 101, [], (Framing.SWITCHED, 0)),
        (b"GET", 204, CHUNKED, (Framing.NONE, 0)),
        (b"GET", 304, FIVE, (Framing.NONE, 0)),
        (b"GET", 200, CHUNKED, (Framing.CHUNKED, 0)),  # 4
        (b"GET", 200, FIVE, (Framing.LENGTH, 5)),  # 6
        (b"POST", 500, ZERO, (Framing.LENGTH, 0)),
        (b"HEAD", 200, ZERO, (Framing.NONE, 0)),
        (b"GET", 200, [], (Framing.UNTIL_CLOSE, 0)),  # 8
        (b"head", 200, [], (Framing.UNTIL_CLOSE, 0)),
    ],
)
def test_a_response_is_framed_by_the_first_step_that_applies(
    method: bytes, status: int, headers: Headers, framing: tuple[Framing, int]
) -> None:
    assert response_framing(collect_facts(headers), 1, status, method) == framing


def test_the_largest_length_is_taken_as_a_number() -> None:
    facts = collect_facts([(b"content-length", b"9" * 18)])
    assert request_framing(facts, 1) == (Framing.LENGTH, 10**18 - 1)


@pytest.mark.parametrize(
    ("value", "status"),
    [(b"gzip", 501), (b"chunked , gzip", 501), (b"", 400), (b"chunked;q=1", 400), (b"a\xff", 400)],
)
def test_an_unknown_coding_is_a_501_and_no_coding_at_all_a_400(value: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        request_framing(collect_facts([(b"transfer-encoding", value)]), 1)
    assert refused.value.answer_status == status


def test_facts_hold_every_line_of_the_fields_that_decide() -> None:
    facts = collect_facts([(b"X", b"1"), (b"Connection", b"a"), (b"CONNECTION", b"B , c")])
    assert facts == {b"connection": (b"a", b"B , c")}
    assert connection_options(facts) == [b"a", b"b", b"c"]
    assert connection_options({}) == []


def test_close_wins_over_keep_alive() -> None:
    assert not keeps_alive([b"keep-alive", b"close"], 1)
    assert keeps_alive([b"keep-alive"], 0)
    assert not keeps_alive([], 0)
    assert keeps_alive([], 1)
