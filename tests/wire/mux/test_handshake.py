"""HELLO and WELCOME."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import msgpack
import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux import (
    Hello,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_hello,
    encode_welcome,
)

HELLO = Hello(role="manager", instance="i1", session="s1", resume=True, link=1, replaces="i0")
WELCOME = Welcome(
    instance="c1",
    session="s1",
    resumed=True,
    session_window=1 << 26,
    stream_window=1 << 18,
    ping_interval_ms=10_000,
    grace_ms=30_000,
)


def test_hello_and_welcome_survive_the_wire() -> None:
    assert decode_hello(encode_hello(HELLO)) == HELLO
    assert decode_welcome(encode_welcome(WELCOME)) == WELCOME


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("version", True),
        ("version", "1"),
        ("role", ""),
        ("role", "Manager"),
        ("role", 1),
        ("instance", ""),
        ("instance", "x" * 65),
        ("instance", "a b"),
        ("session", "ä"),
        ("session", "a\n"),
        ("session", None),
        ("resume", 1),
        ("link", 4),
        ("link", -1),
        ("link", 0.0),
        ("replaces", "../x"),
    ],
)
def test_a_bad_field_of_hello_is_named(name: str, value: Any) -> None:
    body = asdict(HELLO) | {name: value}
    with pytest.raises(RemoteProtocolError, match=name) as caught:
        decode_hello(msgpack.packb([0, body]))
    assert caught.value.answer_status == 1002


@pytest.mark.parametrize("name", asdict(WELCOME))
def test_a_missing_field_of_welcome_is_named(name: str) -> None:
    body = asdict(WELCOME)
    del body[name]
    with pytest.raises(RemoteProtocolError, match=name):
        decode_welcome(msgpack.packb([1, body]))


@pytest.mark.parametrize(
    ("name", "value"),
    [("session_window", 67_108_865), ("stream_window", 33_554_433), ("links", 5), ("grace_ms", -1)],
)
def test_a_bad_field_of_welcome_is_named(name: str, value: Any) -> None:
    with pytest.raises(RemoteProtocolError, match=name):
        decode_welcome(msgpack.packb([1, asdict(WELCOME) | {name: value}]))


def test_unknown_fields_are_ignored() -> None:
    body = asdict(HELLO) | {"later": [1]}
    assert decode_hello(msgpack.packb([0, body, "surplus"])) == HELLO


def test_the_handshake_travels_alone() -> None:
    with pytest.raises(RemoteProtocolError, match="one HELLO frame"):
        decode_hello(encode_hello(HELLO) + msgpack.packb([8, 1]))
    with pytest.raises(RemoteProtocolError, match="one HELLO frame"):
        decode_hello(msgpack.packb([8, 1]))
    with pytest.raises(RemoteProtocolError, match="one WELCOME frame"):
        decode_welcome(encode_hello(HELLO))
    with pytest.raises(RemoteProtocolError, match="one HELLO frame"):
        decode_hello(b"")


def test_another_version_is_refused_by_number() -> None:
    with pytest.raises(RemoteProtocolError, match="version 7"):
        decode_hello(encode_hello(replace(HELLO, version=7)))
