"""tracestate: the W3C corpus, and rows 76, 77 and 79."""

from __future__ import annotations

import json
import re

import pytest

from lapdev.errors import LocalProtocolError
from lapdev.wire.http1 import INNER_LIMITS, Headers
from lapdev.wire.tracestate import (
    MAX_MEMBERS,
    TRACESTATE_KEY,
    ensure_traceparent,
    is_traceparent,
    member,
    parse,
    stamp_member,
    strip_baggage,
    strip_member,
)
from tests.support import needs

TRACE_ID = b"0af7651916cd43dd8448eb211c80319c"
PARENT_ID = b"b7ad6b7169203331"
VALID = b"00-" + TRACE_ID + b"-" + PARENT_ID + b"-00"
MADE = b"00-" + TRACE_ID + b"-" + PARENT_ID + b"-01"
K = TRACESTATE_KEY


def lines(headers: Headers, name: bytes = b"tracestate") -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def ts(*values: bytes) -> Headers:
    return [(b"tracestate", value) for value in values]


# The corpus

Case = dict[str, object]


def corpus_cases() -> list[dict[str, object]]:
    path = needs.corpus("w3c-trace-context") / "tracestate_cases.json"
    cases: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 98
    return cases


def corpus_headers(case: dict[str, object]) -> Headers:
    pairs = case["headers"]
    assert isinstance(pairs, list)
    # The parser has taken the outer OWS off before anybody reads a value.
    return [(name.encode(), value.encode("latin-1").strip(b" \t")) for name, value in pairs]


def test_a_reader_sees_what_the_w3c_corpus_says() -> None:
    surprises = {}
    for case in corpus_cases():
        headers = corpus_headers(case)
        expect = case["expect"]
        assert isinstance(expect, dict)
        if expect["traceparent"].startswith("restart"):
            continue  # the corpus' reader stops there; ours goes on (row 79), see below
        wanted = expect["tracestate"]
        seen = parse(lines(headers))
        plain = None if seen is None else [[k.decode(), v.decode()] for k, v in seen]
        if plain != wanted:
            surprises[case["id"]] = (plain, wanted)
    assert surprises == {}


def test_traceparent_is_kept_or_made_as_the_w3c_corpus_says() -> None:
    surprises = {}
    for case in corpus_cases():
        headers = corpus_headers(case)
        expect = case["expect"]
        assert isinstance(expect, dict)
        after = ensure_traceparent(headers, TRACE_ID, PARENT_ID)
        values = lines(after, b"traceparent")
        if expect["traceparent"].startswith("restart"):
            right = values == [MADE]
        else:
            right = after == headers and len(values) == 1
        if not right:
            surprises[case["id"]] = values
    assert surprises == {}


def test_row_77_our_member_is_read_from_every_corpus_list_that_is_not_discarded() -> None:
    for case in corpus_cases():
        others = lines(corpus_headers(case))
        seen = parse(others)
        stamped = stamp_member([(b"tracestate", v) for v in others], K, b"branch1")
        [line] = lines(stamped)
        assert member(stamped) == "branch1"
        after = parse([line])
        assert after is not None
        assert after[0] == (K, b"branch1")
        if seen is not None:
            assert after[1:] == seen[: MAX_MEMBERS - 1]


def test_row_77_stripping_changes_nothing_in_a_corpus_list_without_our_key() -> None:
    for case in corpus_cases():
        headers = corpus_headers(case)
        assert strip_member(headers) == headers


# Reading


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([], None),
        ([(b"Host", b"lapdev-env-id=x")], None),
        (ts(b"lapdev-env-id=abc"), "abc"),
        ([(b"TraceState", b"lapdev-env-id=abc")], "abc"),
        (ts(b"a=b,lapdev-env-id=abc , c=d"), "abc"),
        (ts(b"a=b", b"", b"lapdev-env-id=abc"), "abc"),
        (ts(b"lapdev-env-id=1,lapdev-env-id=2"), "1"),
        (ts(b"lapdev-env-id=1", b"lapdev-env-id=2"), "1"),
        (ts(b"a=lapdev-env-id"), None),
        (ts(b"xlapdev-env-id=1"), None),
        (ts(b"lapdev-env-idx=1"), None),
        (ts(b"LAPDEV-ENV-ID=1"), None),
        (ts(b"lapdev-env-id =1"), None),
        (ts(b"lapdev-env-id="), None),
        (ts(b"lapdev-env-id"), None),
        # One malformed member, on whatever line, discards the list.
        (ts(b"lapdev-env-id=1,FOO=1"), None),
        (ts(b"lapdev-env-id=1", b"foo"), None),
        (ts(b"lapdev-env-id=1,a=x\ty"), None),
        (ts(b"lapdev-env-id=1", b",".join(b"k%d=1" % i for i in range(31))), "1"),
        (ts(b"lapdev-env-id=1", b",".join(b"k%d=1" % i for i in range(32))), None),
        (ts(b"lapdev-env-id=1,,, ,\t,"), "1"),
    ],
)
def test_row_79_our_member_is_read_with_or_without_a_traceparent(
    headers: Headers, value: str | None
) -> None:
    assert member(headers) == value
    assert member([(b"traceparent", VALID), *headers]) == value


def test_another_key_can_be_read() -> None:
    assert member(ts(b"a=b,c=d"), b"c") == "d"


# Stripping and stamping: row 76


def test_row_76_every_copy_of_our_key_goes_and_other_members_stay_in_order() -> None:
    headers: Headers = [
        (b"Host", b"a"),
        (b"TRACESTATE", b"x=1 ,lapdev-env-id=evil, y=2"),
        (b"tracestate", b"lapdev-env-id=evil"),
        (b"X", b"lapdev-env-id=fine"),
        (b"tracestate", b"lapdev-env-id=a,\t lapdev-env-id =b,LAPDEV-Env-Id=c, lapdev-env-id"),
        (b"tracestate", b"z=3,,lapdev-env-id=evil, w"),
    ]
    assert strip_member(headers) == [
        (b"Host", b"a"),
        (b"TRACESTATE", b"x=1 , y=2"),
        (b"X", b"lapdev-env-id=fine"),
        (b"tracestate", b"z=3,, w"),
    ]


def test_a_value_that_only_mentions_our_key_stays() -> None:
    headers = ts(b"a=lapdev-env-id", b"lapdev-env-id-x=1", b"x@lapdev-env-id=1")
    assert strip_member(headers) == headers


def test_row_76_the_stamped_member_is_left_most_in_a_single_line() -> None:
    headers: Headers = [
        (b"tracestate", b"lapdev-env-id=evil,a=1"),
        (b"Host", b"a"),
        (b"Tracestate", b" b=2 ,lapdev-env-id=evil"),
    ]
    stamped = stamp_member(headers, K, b"good")
    assert stamped == [(b"Host", b"a"), (b"tracestate", b"lapdev-env-id=good,a=1,b=2")]
    assert stamp_member([], K, b"good") == ts(b"lapdev-env-id=good")
    assert stamp_member(ts(b"lapdev-env-id=evil"), K, b"good") == ts(b"lapdev-env-id=good")


def test_row_77_a_list_a_reader_would_discard_does_not_take_our_member_with_it() -> None:
    for bad in (b"FOO=1", b"a=x\ty", b'a="x,y"', b"a", b"a=b=c", b"a=\xc3\xa9"):
        assert stamp_member(ts(b"ok=1", bad), K, b"good") == ts(b"lapdev-env-id=good")


def test_row_77_31_other_members_stay_and_the_32nd_goes() -> None:
    others = [b"k%02d=1" % i for i in range(32)]
    [line] = lines(stamp_member(ts(b",".join(others[:16]), b",".join(others[16:])), K, b"good"))
    assert line.split(b",") == [b"lapdev-env-id=good", *others[:31]]


def test_row_77_members_of_any_legal_length_pass() -> None:
    huge = [b"%02d" % i + b"k" * 254 + b"=" + b"v" * 256 for i in range(31)]
    [line] = lines(stamp_member(ts(b",".join(huge)), K, b"v" * 256))
    assert line.split(b",")[1:] == huge
    assert len(line) + len(b"tracestate: ") < INNER_LIMITS.header_field_bytes


@pytest.mark.parametrize("value", [b"", b"a,b", b"a=b", b"x" * 257, b"a\r\nb", b"trailing "])
def test_an_illegal_value_is_never_stamped(value: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        stamp_member([], K, value)


def test_no_function_changes_the_list_it_was_given() -> None:
    headers: Headers = [(b"tracestate", b"lapdev-env-id=a"), (b"baggage", b"lapdev-env-id=a")]
    before = list(headers)
    strip_member(headers)
    strip_baggage(headers)
    stamp_member(headers, K, b"b")
    ensure_traceparent(headers, TRACE_ID, PARENT_ID)
    assert headers == before


# Baggage and traceparent


def test_our_key_in_baggage_goes_with_its_properties() -> None:
    headers: Headers = [
        (b"Baggage", b"user=a;p=1, lapdev-env-id = x;prop=1;q , b=2"),
        (b"baggage", b"lapdev-env-id=y"),
        (b"baggage", b"lapdev-env-id;q"),
        (b"tracestate", b"lapdev-env-id=z"),
    ]
    assert strip_baggage(headers, K) == [
        (b"Baggage", b"user=a;p=1, b=2"),
        (b"tracestate", b"lapdev-env-id=z"),
    ]


def test_a_valid_traceparent_stays_as_it_is() -> None:
    for value in (VALID, MADE, b"cc" + VALID[2:], b"cc" + VALID[2:] + b"-more"):
        headers: Headers = [(b"TraceParent", value), (b"X", b"y")]
        assert ensure_traceparent(headers, b"f" * 32, b"f" * 16) == headers


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [VALID, VALID],
        [VALID.upper()],
        [VALID + b"-x"],
        [b"ff" + VALID[2:]],
        [b"00-" + b"0" * 32 + b"-" + PARENT_ID + b"-01"],
        [b"00-" + TRACE_ID + b"-" + b"0" * 16 + b"-01"],
    ],
)
def test_any_other_traceparent_gives_way_to_a_sampled_one(values: list[bytes]) -> None:
    headers: Headers = [(b"Host", b"a"), *((b"traceparent", value) for value in values)]
    after = ensure_traceparent(headers, TRACE_ID, PARENT_ID)
    assert after == [(b"Host", b"a"), (b"traceparent", MADE)]
    assert is_traceparent(MADE)


@pytest.mark.parametrize(
    ("trace_id", "parent_id"),
    [(b"0" * 32, PARENT_ID), (TRACE_ID, b"0" * 16), (TRACE_ID.upper(), PARENT_ID), (b"a", b"b")],
)
def test_an_illegal_id_is_never_written(trace_id: bytes, parent_id: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        ensure_traceparent([], trace_id, parent_id)


def test_the_key_and_an_environment_id_make_a_legal_member() -> None:
    assert re.fullmatch(rb"[a-z][a-z0-9\-]{0,255}", K)
    assert parse([K + b"=k3v9x0a1b2c3d4e5"]) == [(K, b"k3v9x0a1b2c3d4e5")]
