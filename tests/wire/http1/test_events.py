"""The events: looking a header up."""

from __future__ import annotations

from lapdev.wire.http1 import INNER_LIMITS, PUBLIC_LIMITS, header


def test_a_header_is_found_in_any_case_and_the_first_one_wins() -> None:
    headers = [(b"X-A", b"1"), (b"x-a", b"2"), (b"B", b"")]
    assert header(headers, b"x-a") == b"1"
    assert header(headers, b"b") == b""
    assert header(headers, b"c") is None


def test_an_inner_hop_takes_what_the_edge_took_and_eight_fields_more() -> None:
    assert INNER_LIMITS.header_fields >= PUBLIC_LIMITS.header_fields + 8
    for name in ("request_line_bytes", "header_block_bytes", "header_field_bytes"):
        assert getattr(INNER_LIMITS, name) > getattr(PUBLIC_LIMITS, name)
