"""Websocket frames (RFC 6455 §5): bytes in, messages out, and the bytes of what is sent.

Strict, incremental, and binary only: text is refused, extensions do not exist, a claimed length
allocates nothing, and the same bytes give the same events however they are cut. What is wrong
with a frame is an event like any other, so that the messages before it count. Masking and random
keys come from outside: this room knows neither a compiled library nor a source of entropy.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MAX_CONTROL_BYTES: Final = 125  # RFC 6455 §5.5
MAX_REASON_BYTES: Final = MAX_CONTROL_BYTES - 2
MERGE_BYTES: Final = 4_096
"""Pieces of a message below this are joined as they come: a dripped one costs its bytes only."""

PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005
INVALID_DATA: Final = 1007
MESSAGE_TOO_BIG: Final = 1009

PIECE_BYTES: Final = 16_384
"""The pieces of a large message are not joined if they are this long, on average."""

ApplyMask = Callable[[bytes | memoryview, bytes], bytes]
"""Each byte of the first, combined with the four of the second in turn (RFC 6455 §5.3)."""


@dataclass(slots=True)
class PingReceived:
    """Owed a pong with the same payload."""

    payload: bytes


@dataclass(slots=True)
class CloseReceived:
    """The peer sends nothing more."""

    code: int
    """1005 when the frame had none."""
    reason: str


@dataclass(slots=True)
class FramesBroken:
    """The peer broke the rules; nothing after this is read. `code` is the close code owed."""

    code: int
    reason: str


Message = bytes | list[bytes]
"""A message, or the pieces of a large one as they came."""
FrameEvent = Message | PingReceived | CloseReceived | FramesBroken
"""`bytes` is a whole message; so is a list, of a large one that came in pieces."""


class FrameReader:
    """The frames that one peer sends. `masked`: the peer is the client."""

    __slots__ = (
        "_apply_mask",
        "_chunks",
        "_first",
        "_fragments",
        "_head",
        "_key",
        "_mask_bit",
        "_max_message_bytes",
        "_missing",
        "_over",
    )

    def __init__(self, *, masked: bool, max_message_bytes: int, apply_mask: ApplyMask) -> None:
        self._apply_mask = apply_mask
        self._max_message_bytes = max_message_bytes
        self._mask_bit = 0x80 if masked else 0
        self._head = b""  # of a frame, not complete
        self._missing = 0  # bytes of the payload that has begun
        self._first = 0  # byte of that frame
        self._key = b""  # turned to where its payload goes on
        self._chunks: list[bytes] = []  # of it, unmasked
        self._fragments: bytearray | None = None  # of a message that goes on
        self._over = False

    def receive_data(self, data: bytes | memoryview) -> list[FrameEvent]:
        """The events that `data` completes. Nothing of it is kept: a view may be reused."""
        events: list[FrameEvent] = []
        at = 0
        if self._missing:
            at = self._go_on(data, events)
        elif self._head:
            data = b"".join((self._head, data))
            self._head = b""
        end = len(data)
        while at < end and not self._over:
            next_at = self._begin(data, at, events)
            if next_at < 0:
                self._head = bytes(data[at:])
                break
            at = next_at
        return events

    def _begin(self, data: bytes | memoryview, at: int, events: list[FrameEvent]) -> int:
        """The frame at `at` is read as far as it is there; -1 if even its head is not whole."""
        end = len(data)
        body = at + 2
        if end < body:
            return -1
        first, second = data[at], data[at + 1]
        size = second & 0x7F
        # What is not a whole binary message with the mask it should have is looked at closely.
        if first != 0x82 or self._fragments is not None or second & 0x80 != self._mask_bit:
            broken = self._fault(first, second)
            if broken is not None:
                return self._break(broken, events, end)
        if size >= 126:
            body = at + (4 if size == 126 else 10)
            if end < body:
                return -1
            least = 126 if size == 126 else 65_536
            size = int.from_bytes(data[at + 2 : body], "big")
            # §5.2: the minimal number of bytes must be used to encode the length.
            if size < least or size >= 1 << 63:
                return self._break(
                    FramesBroken(PROTOCOL_ERROR, "a length in the wrong form"), events, end
                )
        held = 0 if self._fragments is None else len(self._fragments)
        if size + held > self._max_message_bytes and first & 0x08 == 0:
            limit = f"a message of more than {self._max_message_bytes} bytes"
            return self._break(FramesBroken(MESSAGE_TOO_BIG, limit), events, end)
        key = b""
        if self._mask_bit:
            if end < body + 4:
                return -1
            key = bytes(data[body : body + 4])
            body += 4
        stop = body + size
        if stop <= end:
            payload = b""
            if size:
                part = data[body:stop] if type(data) is bytes else memoryview(data)[body:stop]
                payload = self._apply_mask(part, key) if key else bytes(part)
            self._complete(first, payload, events)
            return stop
        self._first, self._key, self._missing = first, key, size
        if body < end:
            self._keep(memoryview(data)[body:])
        return end

    def _go_on(self, data: bytes | memoryview, events: list[FrameEvent]) -> int:
        """More of a payload that has begun; returns where the rest of `data` begins."""
        at = min(len(data), self._missing)
        self._keep(memoryview(data)[:at])
        if not self._missing:
            chunks, self._chunks = self._chunks, []
            if self._first == 0x82 and len(chunks) * PIECE_BYTES <= sum(map(len, chunks)):
                events.append(chunks)
            else:
                self._complete(self._first, b"".join(chunks), events)
        return at

    def _keep(self, part: memoryview) -> None:
        """The next bytes of the payload that has begun."""
        size = len(part)
        self._missing -= size
        key = self._key
        if key:
            piece = self._apply_mask(part, key)
            turn = size & 3
            self._key = key[turn:] + key[:turn]
        else:
            piece = bytes(part)
        chunks = self._chunks
        if size < MERGE_BYTES and chunks and len(chunks[-1]) < MERGE_BYTES:
            chunks[-1] += piece
        else:
            chunks.append(piece)

    def _complete(self, first: int, payload: bytes, events: list[FrameEvent]) -> None:
        opcode = first & 0x0F
        if first == 0x82:
            events.append(payload)
        elif opcode <= BINARY:
            if self._fragments is None:
                self._fragments = bytearray()
            self._fragments += payload
            if first & 0x80:
                events.append(bytes(self._fragments))
                self._fragments = None
        elif opcode == PING:
            events.append(PingReceived(payload))
        elif opcode == CLOSE:
            self._over = True
            events.append(_close_of(payload))

    def _fault(self, first: int, second: int) -> FramesBroken | None:
        """What is wrong with a frame that begins with these two bytes."""
        opcode = first & 0x0F
        reason = ""
        if first & 0x70:
            # §5.2: must be 0 unless an extension is negotiated that defines them.
            reason = "a reserved bit is set"
        elif second & 0x80 != self._mask_bit:
            # §5.1: a client's frames are masked, so that no script makes an intermediary see
            # a request of its own choosing in them.
            reason = "a frame is not masked" if self._mask_bit else "a frame is masked"
        elif opcode >= CLOSE:
            if opcode > PONG:
                reason = "a reserved opcode"
            elif not first & 0x80:
                reason = "a control frame in fragments"
            elif second & 0x7F > MAX_CONTROL_BYTES:
                reason = "a long control frame"
        elif opcode > BINARY:
            reason = "a reserved opcode"
        elif opcode == CONTINUATION and self._fragments is None:
            reason = "a continuation of nothing"
        elif opcode != CONTINUATION and self._fragments is not None:
            reason = "a message inside another"
        elif opcode == TEXT:
            return FramesBroken(UNSUPPORTED_DATA, "only binary messages are spoken here")
        return FramesBroken(PROTOCOL_ERROR, reason) if reason else None

    def _break(self, broken: FramesBroken, events: list[FrameEvent], end: int) -> int:
        self._over = True
        self._fragments = None
        events.append(broken)
        return end


def _close_of(payload: bytes) -> FrameEvent:
    """What a close frame says (§5.5.1, §7.4)."""
    if not payload:
        return CloseReceived(NO_STATUS, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not _may_travel(code):
        return FramesBroken(PROTOCOL_ERROR, "a close frame without a proper code")
    try:
        return CloseReceived(code, payload[2:].decode())
    except UnicodeDecodeError:
        return FramesBroken(INVALID_DATA, "a close reason that is not UTF-8")


def _may_travel(code: int) -> bool:
    """1004 to 1006 and 1015 never do; below 3000 only what the registry knows (§7.4)."""
    return code in _CLOSE_CODES or 3000 <= code < 5000


_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
_HEAD_16: Final = struct.Struct("!BBH")
_HEAD_64: Final = struct.Struct("!BBQ")


def frame_head(opcode: int, size: int, key: bytes = b"") -> bytes:
    """A whole message's frame up to its payload, which is to be masked with `key`, if given."""
    mask_bit = 0x80 if key else 0
    first = 0x80 | opcode
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65_536:
        head = _HEAD_16.pack(first, mask_bit | 126, size)
    else:
        head = _HEAD_64.pack(first, mask_bit | 127, size)
    return head + key if key else head


def close_payload(code: int, reason: str) -> bytes:
    """What a close frame carries; the reason is cut to what there is room for."""
    if code == NO_STATUS:
        return b""
    assert _may_travel(code), code
    text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()
