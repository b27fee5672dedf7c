"""The wire on one page: frame types, their fields, limits, encoding, strict decoding.

A websocket message carries a whole number of frames. A frame is a msgpack array
`[type, fields...]`. Fields are checked exactly (a bool is no integer, a float no stream id) before
anything else sees them; surplus fields at the end are ignored, so that a later version may add
some. Types below 64 must be understood, an unknown one ends the session; unknown types from 64 on
are skipped.

What a frame means is not known here: see `stream` and `connection`. The text for people who
implement the other end is `docs/tunnel-protocol.md`; a test holds the two together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgpack

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.websocket import Message as Message

PROTOCOL_VERSION: Final = 1
SUBPROTOCOL: Final = "lapdev.tunnel.v1"


class FrameType(IntEnum):
    """First element of every frame. D: dialler, A: acceptor."""

    HELLO = 0  # D→A  map
    WELCOME = 1  # A→D  map
    OPEN = 2  # stream, target map, receive_limit
    ACCEPT = 3  # stream, receive_limit
    DATA = 4  # stream, offset, bytes
    FIN = 5  # stream, final_offset
    RESET = 6  # stream, final_offset, cause, detail
    CREDIT = 7  # stream (0: session), consumed, limit
    PING = 8  # nonce
    PONG = 9  # nonce
    CALL = 10  # id, name, body map
    REPLY = 11  # id, ok, body map
    GOAWAY = 12  # scope, drain_seconds, reason
    RESUME = 13  # received, limit, opened, [[stream, received, limit, flags], ...], more
    #              then: [[link, received], ...], [[first missing id, last], ...]
    DATAGRAM = 64  # stream, bytes; an end that does not know it skips it


FIRST_IGNORABLE_TYPE: Final = 64


class CloseCode(IntEnum):
    """Websocket close codes, as used here."""

    NORMAL = 1000  # the session is over
    GOING_AWAY = 1001  # this process stops
    PROTOCOL_ERROR = 1002  # a frame broke the rules; the session is over
    UNSUPPORTED_DATA = 1003  # a text message
    INVALID_DATA = 1007  # not msgpack
    MESSAGE_TOO_BIG = 1009
    TRY_AGAIN = 1013  # no new session now: this process is near its limits
    NO_SESSION = 4404  # a further link of a session that is not held here
    HANDSHAKE_TIMEOUT = 4408
    REPLACED = 4409  # a newer session of the same instance took over
    SUPERSEDED = 4410  # the link has a newer connection, or its streams have moved


class GoAwayScope(IntEnum):
    LINK = 0
    PROCESS = 1


# Limits. Bytes unless the name says otherwise.
MAX_MESSAGE_BYTES: Final = 1_048_576
MAX_DATA_BYTES: Final = 262_144
MAX_DATAGRAM_BYTES: Final = 65_507
"""What fits into one of UDP over IPv4."""
MAX_CAUSE_BYTES: Final = 64
MAX_DETAIL_BYTES: Final = 1_024
MAX_NAME_BYTES: Final = 64
MAX_DEPTH: Final = 32
"""Nesting inside a target or a call's body. What is deeper is meant to exhaust a stack."""
MAX_ITEMS: Final = 65_536
MAX_OFFSET: Final = 2**53 - 1
"""Offsets, limits, ids and nonces: what every language holds exactly in a number."""
RESUME_ENTRIES: Final = 4_096
"""Streams in one RESUME frame; more follow in the next."""
MAX_LINKS: Final = 4
"""Connections of one session."""
MAX_MISSING_RANGES: Final = 16_384
"""Gaps in the ids a peer has used that are kept; as many as it may have streams open."""
JOIN_BYTES: Final = 262_144
"""What leaves at once, and a message of small frames: a later frame overtakes what is beyond."""
LARGE_BYTES: Final = 16_384
"""A payload above this is not copied where that can be avoided."""

Payload = bytes | memoryview
"""Bytes that nobody changes; a view when they are a part of something larger."""


def violation(detail: str, code: CloseCode = CloseCode.PROTOCOL_ERROR) -> RemoteProtocolError:
    """The error that ends a session, with the websocket close code owed to the peer."""
    error = RemoteProtocolError(detail)
    error.answer_status = int(code)
    return error


# Encoding

_packer: Final = msgpack.Packer(use_bin_type=True, buf_size=4096)
_pack: Final[Callable[[object], bytes]] = _packer.pack
_DATA_HEAD: Final = struct.Struct("!HBIBQBI")
_DATA_FORM: Final = (0x9404, 0xCE, 0xCF, 0xC6)
"""What else is in such a head: an array of four, DATA; uint 32, uint 64, bin 32."""
DATA_HEAD_BYTES: Final = _DATA_HEAD.size


def encode(frame_type: FrameType, *fields: Any) -> bytes:
    """The frame's bytes.

    Raises:
        LocalProtocolError: a field msgpack cannot carry, or a frame larger than a message.
    """
    try:
        frame = _pack((int(frame_type), *fields))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        _packer.reset()
        raise LocalProtocolError(f"a {frame_type.name} frame cannot be encoded: {exc}") from exc
    if len(frame) > MAX_MESSAGE_BYTES:
        raise LocalProtocolError(
            f"a {frame_type.name} frame of {len(frame)} bytes exceeds {MAX_MESSAGE_BYTES}"
        )
    return frame


def encode_data(stream: int, offset: int, data: Payload) -> bytes:
    """A DATA frame, whole."""
    return encode_data_header(stream, offset, len(data)) + data


def encode_data_header(stream: int, offset: int, length: int) -> bytes:
    """All of a DATA frame but its payload, which follows as it is: no copy is made of it here.

    Numbers have a fixed width, which msgpack allows, and which is read in one step.
    """
    if stream > 0xFFFF_FFFF:
        return b"\x94" + _pack((4, stream, offset))[1:] + b"\xc6" + length.to_bytes(4, "big")
    return _DATA_HEAD.pack(0x9404, 0xCE, stream, 0xCF, offset, 0xC6, length)


def encode_datagram_header(stream: int, length: int) -> bytes:
    """The same of a DATAGRAM frame."""
    head = b"\x93" + _pack((64, stream))[1:]
    if length < 256:
        return head + b"\xc4" + length.to_bytes(1, "big")
    return head + b"\xc5" + length.to_bytes(2, "big")


# Field checks. Each returns True for a value the field may have.


def _uint(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_OFFSET


def _stream(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_OFFSET


def _payload(value: object) -> bool:
    # An empty DATA frame carries nothing and would cost its reader for free.
    return type(value) is bytes and 0 < len(value) <= MAX_DATA_BYTES


def _datagram(value: object) -> bool:
    return type(value) is bytes and len(value) <= MAX_DATAGRAM_BYTES


def _flag(value: object) -> bool:
    return type(value) is bool


def _scope(value: object) -> bool:
    return type(value) is int and value in (0, 1)


def _text(limit: int) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return type(value) is str and len(value.encode()) <= limit

    return check


def _map(value: object) -> bool:
    return type(value) is dict and _depth_within(value, MAX_DEPTH)


def _entries(value: object) -> bool:
    if type(value) is not list or len(value) > RESUME_ENTRIES:
        return False
    return all(
        type(item) is list
        and len(item) >= 4
        and _stream(item[0])
        and all(_uint(number) for number in item[1:4])
        for item in value
    )


def _links(value: object) -> bool:
    if type(value) is not list or not 0 < len(value) <= MAX_LINKS:
        return False
    return all(
        type(item) is list
        and len(item) >= 2
        and _uint(item[0])
        and item[0] < MAX_LINKS
        and _uint(item[1])
        for item in value
    ) and len({item[0] for item in value}) == len(value)


def _ranges(value: object) -> bool:
    """Ascending, apart from each other."""
    if type(value) is not list or len(value) > MAX_MISSING_RANGES:
        return False
    before = 0
    for item in value:
        if type(item) is not list or len(item) != 2 or not (_stream(item[0]) and _stream(item[1])):
            return False
        if not before < item[0] <= item[1]:
            return False
        before = item[1]
    return True


def _depth_within(value: Any, limit: int) -> bool:
    """Level by level, never recursive: hostile nesting must not reach the interpreter's stack."""
    level = [value]
    for _ in range(limit):
        inner = [
            part
            for item in level
            for part in (item.values() if type(item) is dict else item)
            if type(part) is dict or type(part) is list
        ]
        if not inner:
            return True
        level = inner
    return False


Check = Callable[[object], bool]

LAYOUT: Final[dict[int, tuple[tuple[str, Check], ...]]] = {
    FrameType.HELLO: (("hello", _map),),
    FrameType.WELCOME: (("welcome", _map),),
    FrameType.OPEN: (("stream", _stream), ("target", _map), ("receive_limit", _uint)),
    FrameType.ACCEPT: (("stream", _stream), ("receive_limit", _uint)),
    FrameType.DATA: (("stream", _stream), ("offset", _uint), ("bytes", _payload)),
    FrameType.FIN: (("stream", _stream), ("final_offset", _uint)),
    FrameType.RESET: (
        ("stream", _stream),
        ("final_offset", _uint),
        ("cause", _text(MAX_CAUSE_BYTES)),
        ("detail", _text(MAX_DETAIL_BYTES)),
    ),
    FrameType.CREDIT: (("stream", _uint), ("consumed", _uint), ("limit", _uint)),
    FrameType.PING: (("nonce", _uint),),
    FrameType.PONG: (("nonce", _uint),),
    FrameType.CALL: (("id", _stream), ("name", _text(MAX_NAME_BYTES)), ("body", _map)),
    FrameType.REPLY: (("id", _stream), ("ok", _flag), ("body", _map)),
    FrameType.GOAWAY: (
        ("scope", _scope),
        ("drain_seconds", _uint),
        ("reason", _text(MAX_DETAIL_BYTES)),
    ),
    FrameType.RESUME: (
        ("received", _uint),
        ("limit", _uint),
        ("opened", _uint),
        ("streams", _entries),
        ("more", _flag),
    ),
    FrameType.DATAGRAM: (("stream", _stream), ("bytes", _datagram)),
}

FURTHER: Final[dict[int, tuple[tuple[str, Check], ...]]] = {
    FrameType.RESUME: (("links", _links), ("missing", _ranges)),
}
"""Fields that may follow; an end that does not know them skips them as surplus."""


# Decoding


def _no_extension(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code}")


def _distinct(pairs: list[tuple[object, object]]) -> dict[object, object]:
    # Two readers of a map with a key twice may believe different values.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a map has a key twice")
    if any(type(key) is not str for key in result):
        raise ValueError("a map has a key that is no string")
    return result


def decode(message: Message) -> list[list[Any]]:
    """Every frame in the message, checked, as `[type, fields...]`; ignorable ones are left out.

    A claimed length never causes an allocation: msgpack grows only by what is there.

    Raises:
        RemoteProtocolError: `answer_status` is the close code owed to the peer.
    """
    frames: list[list[Any]] = []
    if type(message) is list:
        if _data_in_pieces(message, frames):
            return frames
        message = b"".join(message)
    assert type(message) is bytes
    if len(message) > MAX_MESSAGE_BYTES:
        raise violation(f"a message of {len(message)} bytes", CloseCode.MESSAGE_TOO_BIG)
    at = _leading_data(message, frames) if message.startswith(b"\x94\x04") else 0
    if at < len(message):
        _unpack(memoryview(message)[at:] if at else message, frames)
    return frames


def _leading_data(message: bytes, frames: list[list[Any]]) -> int:
    """Takes the DATA frames a message begins with, as `encode_data_header` writes them.

    Most of what travels is DATA, and its bytes are copied once, or not at all if they are many.
    Frames of one stream that follow on from each other come as one: they were cut for the journey
    only. Returns where something else begins, or something is wrong: what, the general way finds
    out.
    """
    unpack, header, form = _DATA_HEAD.unpack_from, _DATA_HEAD.size, _DATA_FORM
    at, size = 0, len(message)
    last = size - header
    of, due = 0, -1  # the stream and the offset that the last frame goes on at
    while at < last:
        a, b, stream, c, offset, d, length = unpack(message, at)
        if (a, b, c, d) != form:
            break
        begin = at + header
        end = begin + length
        if end > size or not 0 < length <= MAX_DATA_BYTES or offset > MAX_OFFSET or not stream:
            break
        # A view keeps all of the message alive: only for most of it.
        if length > LARGE_BYTES and 2 * length > size:
            data: Payload = memoryview(message)[begin:end]
        else:
            data = message[begin:end]
        if offset != due or stream != of:
            frames.append([4, stream, offset, data])
            of = stream
        elif type(frames[-1][3]) is list:
            frames[-1][3].append(data)
        else:
            frames[-1][3] = [frames[-1][3], data]
        due = offset + length
        at = end
    for frame in frames:
        if type(frame[3]) is list:
            frame[3] = b"".join(frame[3])
    return at


def _data_in_pieces(pieces: list[bytes], frames: list[list[Any]]) -> bool:
    """Whether the message is one DATA frame: then each of its pieces comes as one, uncopied."""
    first, begin = pieces[0], _DATA_HEAD.size
    if len(first) <= begin:
        return False
    a, b, stream, c, offset, d, length = _DATA_HEAD.unpack_from(first)
    if (a, b, c, d) != _DATA_FORM or sum(map(len, pieces)) - begin != length:
        return False
    if not stream or length > MAX_DATA_BYTES or offset > MAX_OFFSET:
        return False
    for piece in (memoryview(first)[begin:], *pieces[1:]):
        frames.append([4, stream, offset, piece])
        offset += len(piece)
    return True


_spare: Final[list[msgpack.Unpacker]] = []
"""Unpackers with nothing in them. Making one costs more than reading a small frame."""


def _unpack(message: bytes | memoryview, frames: list[list[Any]]) -> None:
    # One that failed is not used again, nor one that is in use on another thread.
    unpacker = _spare.pop() if _spare else _new_unpacker()
    begun = end = unpacker.tell()
    unpacker.feed(message)
    try:
        for frame in unpacker:
            end = unpacker.tell()
            if _check(frame):
                frames.append(frame)
    except UnicodeDecodeError as exc:
        raise violation("a string is not UTF-8", CloseCode.INVALID_DATA) from exc
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise violation(f"not msgpack: {exc!r:.80}", CloseCode.INVALID_DATA) from exc
    if end - begun != len(message):
        raise violation("a frame is cut off at the end of its message", CloseCode.INVALID_DATA)
    _spare.append(unpacker)


def _new_unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(
        max_buffer_size=MAX_MESSAGE_BYTES,
        max_str_len=MAX_MESSAGE_BYTES,
        max_bin_len=MAX_DATA_BYTES,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
        max_ext_len=0,
        ext_hook=_no_extension,
        object_pairs_hook=_distinct,
        strict_map_key=True,
    )


def _check(frame: object) -> bool:
    """Whether to act on the frame; raises if it breaks the layout."""
    if type(frame) is not list or not frame or type(frame[0]) is not int or frame[0] < 0:
        raise violation("a frame is not an array that begins with its type")
    layout = LAYOUT.get(frame[0])
    if layout is None:
        if frame[0] >= FIRST_IGNORABLE_TYPE:
            return False
        raise violation(f"unknown frame type {frame[0]}")
    if len(frame) <= len(layout):
        raise violation(f"{FrameType(frame[0]).name} has {len(frame) - 1} fields")
    for index, (name, check) in enumerate(layout, start=1):
        if not check(frame[index]):
            raise violation(f"{FrameType(frame[0]).name}: bad {name}")
    if frame[0] in FURTHER:
        surplus = frame[len(layout) + 1 :]
        for (name, check), value in zip(FURTHER[frame[0]], surplus, strict=False):
            if not check(value):
                raise violation(f"{FrameType(frame[0]).name}: bad {name}")
    return True
