"""The line walker: what it says must be the first thing that is wrong, however the bytes come."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import Limits
from lapdev.wire.http1.section import SectionScanner, split_fields


def scan_growing(scanner: SectionScanner, data: bytes) -> int:
    """Feeds a buffer that grows by single bytes."""
    buffer = bytearray()
    for octet in data:
        buffer.append(octet)
        end = scanner.scan(buffer)
        if end >= 0:
            return end
    return -1


def test_a_section_ends_behind_its_empty_line() -> None:
    data = b"A: b\r\nC:\r\n\r\nmore"
    assert SectionScanner(Limits()).scan(data) == len(data) - 4
    assert scan_growing(SectionScanner(Limits()), data) == len(data) - 4
    assert SectionScanner(Limits()).scan(b"\r\n") == 2
    assert SectionScanner(Limits()).scan(b"A: b\r\n") == -1


def test_the_start_line_is_checked_once_and_without_its_crlf() -> None:
    seen: list[bytes] = []
    scanner = SectionScanner(Limits(), seen.append, empty_lines=1)
    assert scan_growing(scanner, b"\r\nstart\r\nA: b\r\n\r\n") == 17
    assert seen == [b"start"]
    assert scanner.start == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b" A: b", "obs-fold"),
        (b"A", "no colon"),
        (b": b", "no name"),
        (b"A b: c", "not allowed"),
        (b"A: \x01", "control character"),
        (b"A: \r", "CR without LF"),
        (b"A: b\n", "LF without CR"),
    ],
)
def test_a_refusal_names_what_is_wrong(line: bytes, message: str) -> None:
    for scan in (SectionScanner.scan, scan_growing):
        with pytest.raises(RemoteProtocolError, match=message):
            scan(SectionScanner(Limits()), line + b"\r\n\r\n")


def test_a_long_line_is_named_by_the_limit_it_is_beyond() -> None:
    limits = Limits(request_line_bytes=5, header_field_bytes=5, header_block_bytes=12)
    for data, message in (
        (b"123456\r\n", "start line"),
        (b"1\r\nA: 456\r\n", "header field"),
        (b"1\r\nA: 45\r\nB: 45\r\n", "header block"),
    ):
        for scan in (SectionScanner.scan, scan_growing):
            with pytest.raises(RemoteProtocolError, match=message):
                scan(SectionScanner(limits, len), data)


def test_a_full_block_may_still_end() -> None:
    limits = Limits(header_block_bytes=7)
    assert scan_growing(SectionScanner(limits), b"A: 45\r\n\r\n") == 9


def test_a_refusal_repeats_no_value() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        SectionScanner(Limits()).scan(b"Authorization: secret\x01\r\n\r\n")
    assert "secret" not in str(refused.value)
    assert "Authorization" in str(refused.value)


def test_fields_are_split_without_outer_whitespace() -> None:
    assert split_fields(b"") == []
    assert split_fields(b"A:b\r\nB:  \t \r\nC: \t c d\te \r\nD: :\r\n") == [
        (b"A", b"b"),
        (b"B", b""),
        (b"C", b"c d\te"),
        (b"D", b":"),
    ]
