"""The patterns: linear on hostile input, and right where CPython's matcher was wrong."""

from __future__ import annotations

import re
import time

import pytest

from lapdev.wire.http1 import abnf

PATTERNS = {name: value for name, value in vars(abnf).items() if isinstance(value, re.Pattern)}


def test_no_group_is_repeated_possessively() -> None:
    """CPython before 3.11.5 takes `a..` for `a.` under `(?:[.][a-z]+)*+` (gh-106052)."""
    for name, pattern in PATTERNS.items():
        outside_classes = re.sub(rb"\[(?:\\.|[^\]\\])+\]", b"[]", pattern.pattern)
        assert not re.search(rb"(?<!\\)\)[*+?]\+", outside_classes), name
    assert abnf.HOST.fullmatch(b"a..") is None


@pytest.mark.parametrize(
    ("name", "hostile"),
    [
        ("REQUEST_HEAD", b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 20_000 + b"x"),
        ("REQUEST_HEAD", b"GET / HTTP/1.1\r\n" + b"a" * 100_000),
        ("RESPONSE_HEAD", b"HTTP/1.1 200 OK\r\n" + b"a:" + b" " * 100_000),
        ("REQUEST_LINE", b"G" * 50_000 + b" " + b"/" * 50_000),
        ("FIELDS", b"a:" + b" x" * 50_000 + b"\r\n"),
        ("FIELDS", b"a:x" + b" " * 100_000 + b"\r\n"),
        ("CHUNK_LINE", b"1" + b";a" * 50_000),
        ("CHUNK_LINE", b"1" + b" \t" * 50_000),
        ("CHUNK_LINE", b'1;a="' + b"\\x" * 50_000),
        ("TRANSFER_CODINGS", b"a, " * 30_000),
        ("HOST", b"a." * 50_000 + b"/"),
        ("HOST_LITERAL", b"[" + b":" * 100_000),
        ("ABSOLUTE_FORM", b"http://" + b"a" * 100_000 + b"\n"),
        ("DOT_DOT", b"/." * 50_000),
    ],
)
def test_hostile_input_takes_linear_time(name: str, hostile: bytes) -> None:
    pattern = PATTERNS[name]
    before = time.process_time()
    pattern.fullmatch(hostile)
    pattern.match(hostile)
    if name in ("FIELDS", "DOT_DOT"):
        pattern.findall(hostile)
    assert time.process_time() - before < 1.0  # milliseconds; quadratic would be minutes


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("TOKEN", b"!#$%&'*+-.^_`|~09azAZ", b"a b"),
        ("FIELD_LINE", b"a:\t \xff~", b"a:\x1f"),
        ("REQUEST_LINE", b'X /" HTTP/1.0', b"X /# HTTP/1.0"),
        ("OTHER_VERSION", b"X / HTTP/1.10", b"X / HTTP/1.1"),
        ("STATUS_LINE", b"HTTP/1.1 599", b"HTTP/1.1 600"),
        ("CONTENT_LENGTH", b"999999999999999999", b"1000000000000000000"),
        ("TRANSFER_CODINGS", b"a\t ,b", b"a,"),
        ("CHUNK_LINE", b"0fffffffffffffF;a\r\n", b"0fffffffffffffff\r\n"),
        ("HOST", b"a-b_c~.d.:", b"a.:x"),
        ("IPV4", b"255.249.199.9", b"256.1.1.1"),
        ("IPV4", b"0.0.0.0", b"1.2.3.4."),
        ("DOT_DOT", b"/..", b"/.x"),
    ],
)
def test_each_pattern_takes_its_edge_and_nothing_beyond(
    name: str, right: bytes, wrong: bytes
) -> None:
    assert PATTERNS[name].fullmatch(right)
    assert not PATTERNS[name].fullmatch(wrong)
