"""JSON bodies: the test suite of RFC 8259 parsers, and what may be stored and sent on."""

from __future__ import annotations

import json

import pytest

from lapdev.cloud.json_body import BODY_LIMIT_BYTES, MAX_DEPTH, parse_json
from tests.support import needs
from tests.support.api import ApiRig

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b" [1, -2.5e3, true, null] ", [1, -2500.0, True, None]),
        ('"\u00e4\U0001f600"'.encode(), "\u00e4\U0001f600"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (b"18446744073709551615", 2**64 - 1),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_what_is_json_is_read(body: bytes, value: object) -> None:
    assert parse_json(body) == (json.loads(body) if value is None else value)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff", "invalid UTF-8 at byte 0"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        ('{"a":1}'.encode("utf-16"), "invalid UTF-8"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "Infinity is not JSON"),
        (b"1e999", "too large"),
        (b"18446744073709551616", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"9" * 10_000, "64 bits"),
        (rb'"\ud800"', "surrogate"),
        (rb'{"\udc00": 1}', "surrogate"),
        (b"[" * 100_000, "nested too deeply|Expecting"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper than 64"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper than 64"),
    ],
)
def test_anything_else_is_refused_with_a_reason(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(body)


async def test_the_corpus_gives_400_where_it_must_and_never_500(rig: ApiRig) -> None:
    folder = needs.corpus("json-parsing") / "test_parsing"
    seen = {"y": 0, "n": 0}
    for path in sorted(folder.glob("[yn]_*.json")):
        body = path.read_bytes()
        answer = await rig.client.post("/api/v1/environments", content=body, headers=JSON)
        error = answer.json()["error"]
        seen[path.name[0]] += 1
        if path.name.startswith("n_"):
            # An empty body is a missing one.
            assert answer.status_code == (400 if body else 422), path.name
        else:
            # Valid JSON, but no environment.
            assert (answer.status_code, error["cause"]) == (422, "bad_request"), path.name
            assert "not valid JSON" not in error["detail"], path.name
    assert seen["y"] == 95
    assert seen["n"] >= 188


async def test_a_body_over_the_limit_is_413(rig: ApiRig) -> None:
    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(BODY_LIMIT_BYTES // 65_536 + 1):
            yield b" " * 65_536

    answer = await rig.client.post("/api/v1/environments", content=pieces(), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["error"]["cause"] == "body_too_large"


async def test_a_body_at_the_limit_is_read(rig: ApiRig) -> None:
    body = b"{" + b" " * (BODY_LIMIT_BYTES - 2) + b"}"
    answer = await rig.client.post("/api/v1/environments", content=body, headers=JSON)
    assert answer.status_code == 422


async def test_json_under_another_name_is_not_taken(rig: ApiRig) -> None:
    answer = await rig.client.post(
        "/api/v1/environments", content=b"{}", headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422
