"""The wire on one page: what is encoded decodes to the same; anything else is refused by name."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.mux.frames import (
    LAYOUT,
    MAX_DATA_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_OFFSET,
    CloseCode,
    FrameType,
    decode,
    encode,
    encode_data,
    encode_data_header,
)
from tests.support import needs

PING = msgpack.packb([8, 1])


def refused(message: bytes) -> int:
    """The close code the message earns."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(message)
    return caught.value.answer_status


def test_every_type_has_a_layout() -> None:
    assert set(LAYOUT) == set(FrameType)


def test_frames_of_one_message_come_in_order() -> None:
    message = encode(FrameType.PING, 1) + encode(FrameType.FIN, 3, 7) + encode(FrameType.PONG, 2)
    assert decode(message) == [[8, 1], [5, 3, 7], [9, 2]]


@pytest.mark.parametrize("length", [1, 255, 256, 65_535, 65_536])
def test_a_data_frame_is_its_header_and_the_payload_as_it_is(length: int) -> None:
    payload = b"x" * length
    message = encode_data_header(5, 1000, length) + payload
    assert message == encode_data(5, 1000, payload)
    assert msgpack.unpackb(message) == [4, 5, 1000, payload]
    assert decode(message) == [[4, 5, 1000, payload]]


def test_a_stream_id_of_more_than_32_bits_is_written_the_general_way() -> None:
    message = encode_data_header(2**32, 7, 2) + b"xy"
    assert decode(message) == [[4, 2**32, 7, b"xy"]]


def test_a_large_data_frame_in_pieces_comes_in_pieces_uncopied() -> None:
    payload = bytes(range(256)) * 400
    message = encode_data(5, 1000, payload)
    pieces = [message[:40_000], message[40_000:80_000], message[80_000:]]
    frames = decode(pieces)
    assert [frame[:2] for frame in frames] == [[4, 5]] * 3
    assert [frame[2] for frame in frames] == [1000, 1000 + 39_979, 1000 + 79_979]
    assert b"".join(frame[3] for frame in frames) == payload
    assert frames[1][3] is pieces[1]


@pytest.mark.parametrize(
    "pieces",
    [
        [PING[:1], PING[1:]],
        [encode_data(5, 0, b"x" * 30_000), PING],
        [encode_data(5, 0, b"x" * 30_000)[:9], encode_data(5, 0, b"x" * 30_000)[9:]],
        [
            msgpack.packb([4, 5, 0, b"x" * 30_000])[:20_000],
            msgpack.packb([4, 5, 0, b"x" * 30_000])[20_000:],
        ],
    ],
)
def test_any_other_message_in_pieces_is_what_it_is_in_one(pieces: list[bytes]) -> None:
    assert decode(pieces) == decode(b"".join(pieces))


@pytest.mark.parametrize(
    ("stream", "offset", "length"),
    [(0, 0, 30_000), (1, MAX_OFFSET + 1, 30_000), (1, 0, MAX_DATA_BYTES + 1), (1, 0, 30_001)],
)
def test_a_bad_data_frame_in_pieces_is_refused(stream: int, offset: int, length: int) -> None:
    payload = b"x" * (length if length != 30_001 else 30_000)
    message = encode_data_header(stream, offset, length) + payload
    with pytest.raises(RemoteProtocolError):
        decode([message[:20_000], message[20_000:]])


def test_surplus_fields_are_ignored() -> None:
    assert decode(msgpack.packb([8, 1, "later", {"a": 1}])) == [[8, 1, "later", {"a": 1}]]


def test_unknown_types_from_64_on_are_skipped_and_below_refused() -> None:
    assert decode(msgpack.packb([65, "x"]) + PING + msgpack.packb([1000])) == [[8, 1]]
    assert refused(msgpack.packb([14])) == CloseCode.PROTOCOL_ERROR
    assert refused(msgpack.packb([63])) == CloseCode.PROTOCOL_ERROR


def test_an_empty_message_says_nothing() -> None:
    assert decode(b"") == []


NOT_MSGPACK = {
    "cut off": PING[:-1],
    "cut off after a whole frame": PING + b"\x92",
    "bin32 that claims 4 GiB": b"\xc6\xff\xff\xff\xff",
    "str32 that claims 4 GiB": b"\xdb\xff\xff\xff\xff",
    "array32 that claims 4 Gi items": b"\xdd\xff\xff\xff\xff",
    "map32 that claims 4 Gi items": b"\xdf\xff\xff\xff\xff",
    "ext": b"\xd4\x05a",
    "empty ext": b"\xc7\x00\x05",
    "timestamp 32": b"\xd6\xff\0\0\0\1",
    "timestamp 96": b"\xc7\x0c\xff" + b"\0" * 12,
    "a reserved byte": b"\xc1",
    "depth 10,000": b"\x91" * 10_000,
    "a key twice": b"\x92\x00\x82\xa1a\x01\xa1a\x02",
    "a key that is no string": b"\x92\x00\x81\x01\x02",
    "a key of bytes": b"\x92\x00\x81\xc4\x01a\x02",
    "a string that is not UTF-8": b"\x96\x06\x01\x00\xa1\xff\xa0",
}


@pytest.mark.parametrize("name", NOT_MSGPACK)
def test_row_59_what_is_not_our_msgpack_is_refused_with_1007(name: str) -> None:
    assert refused(NOT_MSGPACK[name]) == CloseCode.INVALID_DATA


BAD_FRAMES: list[Any] = [
    1,
    "x",
    {},
    [],
    [True, 1],
    [8.0, 1],
    [-1],
    ["8", 1],
    [8],  # too few fields
    [8, True],  # a bool is no integer
    [8, 1.0],
    [8, -1],
    [8, MAX_OFFSET + 1],
    [2, 1.0, {}, 0],  # a float as stream id
    [2, 0, {}, 0],
    [2, -1, {}, 0],
    [2, 1, [], 0],
    [4, 1, 0, b""],
    [4, 1, 0, "text"],
    [6, 1, 0, "x" * 65, ""],
    [6, 1, 0, "x", "é" * 513],
    [6, 1, 0, b"x", ""],
    [7, 1, 0, 2**63],
    [10, 0, "Name", {}],
    [10, 1, "Name", []],
    [11, 1, 1, {}],
    [12, 2, 0, ""],
    [12, True, 0, ""],
    [13, 0, 0, 0, [[1, 0, 0]], False],
    [13, 0, 0, 0, [[0, 0, 0, 0]], False],
    [13, 0, 0, 0, [[1, 0, 0, True]], False],
    [13, 0, 0, 0, [1], False],
    [13, 0, 0, 0, [[1, 0, 0, 0]] * 4097, False],
    [13, 0, 0, 0, {}, False],
    [13, 0, 0, 0, [], 0],
]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=lambda frame: repr(frame)[:40])
def test_row_59_a_wrong_field_is_refused_with_1002(frame: Any) -> None:
    assert refused(msgpack.packb(frame)) == CloseCode.PROTOCOL_ERROR


def test_data_longer_than_64_kib_is_refused() -> None:
    assert refused(msgpack.packb([4, 1, 0, b"x" * (MAX_DATA_BYTES + 1)])) == CloseCode.INVALID_DATA


def test_row_64_a_message_above_one_mebibyte_is_refused_with_1009() -> None:
    assert refused(PING * (MAX_MESSAGE_BYTES // len(PING) + 1)) == CloseCode.MESSAGE_TOO_BIG


def test_nesting_deeper_than_32_is_refused() -> None:
    body: Any = {}
    for _ in range(31):
        body = {"a": body}
    assert decode(msgpack.packb([10, 1, "Name", body]))
    assert refused(msgpack.packb([10, 1, "Name", {"a": [body]}])) == CloseCode.PROTOCOL_ERROR


def test_what_cannot_be_encoded_is_our_own_error_and_spoils_nothing() -> None:
    with pytest.raises(LocalProtocolError, match="CALL"):
        encode(FrameType.CALL, 1, "Name", {"a": object()})
    with pytest.raises(LocalProtocolError, match="exceeds"):
        encode(FrameType.CALL, 1, "Name", {"a": "x" * MAX_MESSAGE_BYTES})
    assert encode(FrameType.PING, 1) == PING


def test_every_wire_form_of_the_msgpack_corpus_is_read_as_its_value() -> None:
    suite = json.loads((needs.corpus("msgpack") / "msgpack-test-suite.json").read_text())
    read = refused_forms = 0
    for group in suite.values():
        for case in group:
            for form in case["msgpack"]:
                wire = bytes.fromhex(form.replace("-", ""))
                # The value as the one entry of a CALL's body.
                message = b"\x94\x0a\x01\xa1N\x81\xa1v" + wire
                if "ext" in case or "timestamp" in case:
                    assert refused(message) == CloseCode.INVALID_DATA
                    refused_forms += 1
                    continue
                kind = min(set(case) - {"msgpack"}, key=("bignum", *case).index)
                wanted = case[kind]
                if kind == "binary":
                    wanted = bytes.fromhex(wanted.replace("-", ""))
                if kind == "bignum":
                    wanted = int(wanted)
                assert decode(message)[0][3] == {"v": wanted}, form
                read += 1
    assert read > 150
    assert refused_forms > 20


def test_every_wire_form_of_a_number_is_accepted_where_a_number_belongs() -> None:
    for form in ("01", "cc01", "cd0001", "ce00000001", "cf0000000000000001", "d001"):
        assert decode(b"\x92\x08" + bytes.fromhex(form)) == [[8, 1]]


@given(st.binary(max_size=300))
def test_fuzz_any_bytes_give_frames_or_a_remote_error(message: bytes) -> None:
    try:
        frames = decode(message)
    except RemoteProtocolError as exc:
        assert exc.answer_status in (1002, 1007, 1009)
    else:
        assert all(frame[0] in LAYOUT for frame in frames)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.integers(0, 70), st.lists(VALUES, max_size=6))
def test_fuzz_any_fields_give_a_frame_or_a_remote_error(kind: int, fields: list[Any]) -> None:
    try:
        frames = decode(msgpack.packb([kind, *fields]))
    except RemoteProtocolError:
        return
    assert frames == ([] if kind >= 64 else [[kind, *fields]])


INTS = st.sampled_from([0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32, MAX_OFFSET, 2**53])
DATA_FRAMES = st.builds(
    lambda our_way, stream, offset, data: (
        encode_data(stream, offset, data) if our_way else msgpack.packb([4, stream, offset, data])
    ),
    st.booleans(),
    INTS,
    INTS,
    st.sampled_from([b"", b"x", b"y" * 255, b"z" * 256, b"w" * 65_535, b"v" * 65_536]),
)
OTHER_FRAMES = st.sampled_from([PING, msgpack.packb([66, "later"]), msgpack.packb([4, 1, 0, "s"])])


@given(
    st.lists(st.one_of(DATA_FRAMES, OTHER_FRAMES), max_size=5).map(b"".join),
    st.integers(0, 12),
)
def test_the_short_way_of_data_and_the_general_way_say_the_same(message: bytes, cut: int) -> None:
    message = message[: len(message) - cut] if cut < 6 else message
    # A later type in front, which is skipped, sends all of it the general way.
    general = outcome(msgpack.packb([66]) + message)
    assert outcome(message) == general


def outcome(message: bytes) -> object:
    """The frames, those that follow on from each other joined, or how the session ends."""
    try:
        frames = decode(message)
    except RemoteProtocolError as exc:
        return exc.answer_status, exc.detail
    joined: list[list[Any]] = []
    for frame in frames:
        last = joined[-1] if joined else [0]
        if frame[0] == last[0] == 4 and frame[1:3] == [last[1], last[2] + len(last[3])]:
            last[3] += frame[3]
        else:
            joined.append(frame)
    return joined


def test_data_frames_that_follow_on_from_each_other_come_as_one_piece() -> None:
    pieces = [
        (1, 0, b"ab"),
        (1, 2, b"cd"),
        (3, 4, b"x"),
        (1, 4, b"e"),
        (1, 6, b"gap"),
        (1, 9, b"f"),
    ]
    message = b"".join(encode_data(*piece) for piece in pieces)
    assert decode(message + PING) == [
        [4, 1, 0, b"abcd"],
        [4, 3, 4, b"x"],
        [4, 1, 4, b"e"],
        [4, 1, 6, b"gapf"],
        [8, 1],
    ]
