"""Websocket frames: bytes in, events out, however the bytes are cut."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.utils import apply_mask as slow_apply_mask

from lapdev.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    CloseReceived,
    FrameEvent,
    FrameReader,
    FramesBroken,
    PingReceived,
    close_payload,
    frame_head,
)

LIMIT = 1_000
KEY = b"\x01\x80\xff\x10"


def apply_mask(data: bytes | memoryview, key: bytes) -> bytes:
    return slow_apply_mask(cast("Any", data), key)


def reader(*, masked: bool = True, limit: int = LIMIT) -> FrameReader:
    return FrameReader(masked=masked, max_message_bytes=limit, apply_mask=apply_mask)


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """One frame as the `websockets` library writes it, but for the key."""
    data = Frame(Opcode(opcode), payload, fin=fin).serialize(mask=False)
    if not masked:
        return data
    head = data[: len(data) - len(payload)]
    return head[:1] + bytes([head[1] | 0x80]) + head[2:] + KEY + apply_mask(payload, KEY)


def read(data: bytes, *, masked: bool = True, cuts: tuple[int, ...] = ()) -> list[FrameEvent]:
    """The events of `data`, which must not depend on where it is cut."""
    whole = reader(masked=masked).receive_data(data)
    drip = reader(masked=masked)
    dripped = [event for at in range(len(data)) for event in drip.receive_data(data[at : at + 1])]
    assert dripped == whole
    cut = reader(masked=masked)
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert [event for piece in pieces for event in cut.receive_data(piece)] == whole
    return whole


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "plain"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 999, 1000])
def test_a_message_of_any_length_is_read(size: int, masked: bool) -> None:
    payload = random.Random(size).randbytes(size)
    assert read(frame(BINARY, payload, masked=masked), masked=masked) == [payload]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "masked"])
def test_what_is_written_is_what_the_library_writes(size: int, key: bytes) -> None:
    payload = bytes(size)
    written = frame_head(BINARY, size, key) + (apply_mask(payload, key) if key else payload)
    assert written == frame(BINARY, payload, masked=bool(key))
    assert reader(masked=bool(key), limit=size).receive_data(written) == [payload]


@given(
    st.lists(st.binary(max_size=300), max_size=5),
    st.booleans(),
    st.lists(st.integers(0, 1_500), max_size=6),
)
def test_messages_are_the_same_however_they_are_cut(
    payloads: list[bytes], masked: bool, cuts: list[int]
) -> None:
    data = b"".join(frame(BINARY, payload, masked=masked) for payload in payloads)
    inside = tuple(cut for cut in cuts if cut < len(data))
    assert read(data, masked=masked, cuts=inside) == payloads


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_events_and_nothing_after_the_end(data: bytes, masked: bool) -> None:
    for event in read(data, masked=masked)[:-1]:
        assert not isinstance(event, CloseReceived | FramesBroken)


def test_fragments_are_joined_and_pings_between_them_told() -> None:
    data = (
        frame(2, b"a" * 400, fin=False)
        + frame(PING, b"still?")
        + frame(0, b"", fin=False)
        + frame(10, b"unasked")
        + frame(0, b"b" * 600)
        + frame(2, b"next")
    )
    assert read(data) == [PingReceived(b"still?"), b"a" * 400 + b"b" * 600, b"next"]


def test_empty_fragments_cost_nothing() -> None:
    machine = reader()
    machine.receive_data(frame(2, b"", fin=False) + frame(0, b"", fin=False) * 10_000)
    assert machine.receive_data(frame(0, b"end")) == [b"end"]


BROKEN: dict[str, tuple[bytes, int]] = {
    "an unmasked frame": (frame(2, b"x", masked=False), 1002),
    "a reserved bit": (b"\xc2\x81" + KEY + b"x", 1002),
    "a reserved data opcode": (b"\x83\x81" + KEY + b"x", 1002),
    "a reserved control opcode": (b"\x8b\x81" + KEY + b"x", 1002),
    "a text message": (b"\x81\x81" + KEY + b"x", 1003),
    "a fragmented ping": (b"\x09\x81" + KEY + b"x", 1002),
    "a ping longer than 125": (b"\x89\xfe\x00\x7e" + KEY + b"x" * 126, 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a message inside another": (frame(2, b"x", fin=False) + frame(2, b"y"), 1002),
    "a short length in 16 bits": (b"\x82\xfe\x00\x7d" + KEY + bytes(125), 1002),
    "a short length in 64 bits": (b"\x82\xff" + (65_535).to_bytes(8, "big") + KEY, 1002),
    "a length of 2 to the 63": (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + KEY, 1002),
    "a length of 2 to the 63 less 1": (b"\x82\xff" + ((1 << 63) - 1).to_bytes(8, "big"), 1009),
    "a message above the limit": (frame(2, bytes(LIMIT + 1)), 1009),
    "fragments above the limit": (
        frame(2, bytes(600), fin=False) + frame(0, bytes(401)),
        1009,
    ),
    "a close frame of one byte": (frame(CLOSE, b"x"), 1002),
    "a close code that never travels": (frame(CLOSE, b"\x03\xee"), 1002),
    "a close code below 1000": (frame(CLOSE, b"\x00\x01"), 1002),
    "a close code of nobody": (frame(CLOSE, b"\x07\xd0"), 1002),
    "a close reason that is no text": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize("name", BROKEN)
def test_row_46_a_broken_frame_is_the_last_event(name: str) -> None:
    data, code = BROKEN[name]
    before, *_, broken = [*read(frame(2, b"before") + data + frame(2, b"after"))]
    assert before == b"before"
    assert isinstance(broken, FramesBroken)
    assert broken.code == code
    assert broken.reason


def test_a_client_refuses_masked_frames() -> None:
    assert read(frame(2, b"x"), masked=False) == [FramesBroken(1002, "a frame is masked")]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", CloseReceived(1005, "")),
        (b"\x03\xe8", CloseReceived(1000, "")),
        (b"\x03\xe9bye", CloseReceived(1001, "bye")),
        (b"\x11\x3a" + "é".encode(), CloseReceived(4410, "é")),
    ],
)
def test_a_close_frame_has_a_code_and_a_reason(payload: bytes, expected: CloseReceived) -> None:
    assert read(frame(CLOSE, payload) + frame(2, b"after")) == [expected]
    assert close_payload(expected.code, expected.reason) == payload


def test_a_close_reason_is_cut_between_letters() -> None:
    payload = close_payload(4409, "é" * 200)
    assert payload[2:].decode() == "é" * 61
    assert len(payload) <= 125


def test_a_frame_waits_for_its_payload_and_holds_little_of_the_read_before() -> None:
    machine = reader(limit=1_000_000)
    data = frame(2, bytes(100_000))
    big = frame(2, b"first" * 200_000)
    events = machine.receive_data(big + data[:500])
    assert [len(cast("bytes", event)) for event in events] == [1_000_000]
    for at in range(500, len(data), 7):
        assert not events[1:]
        events += machine.receive_data(data[at : at + 7])
    assert events[1] == bytes(100_000)
