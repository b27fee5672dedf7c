"""What an HTTP/1.1 message is made of. Objects are unfrozen by convention: nobody changes them
after the parser made them, except the one owner that edits a head before it is sent on.

Body bytes are plain `bytes` events, so that a chunk costs no object of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

Headers = list[tuple[bytes, bytes]]
"""Fields in order, as received: names keep their case, values have no outer SP or HTAB."""


class Framing(IntEnum):
    """How the end of a body is found (RFC 9112 §6.3)."""

    NONE = 0  # no body, and no length declared that could be forwarded as one
    LENGTH = 1  # also a declared length of zero
    CHUNKED = 2
    UNTIL_CLOSE = 3  # responses only
    SWITCHED = 4  # after 101: no longer HTTP


@dataclass(slots=True)
class RequestHead:
    method: bytes
    target: bytes
    """Byte for byte as sent; origin-form, or `*` for OPTIONS. Absolute-form was reduced to
    origin-form and its authority put into `host`."""
    minor: int
    """HTTP/1.minor: 0 or 1."""
    headers: Headers
    host: bytes
    """Lower case, without port and without a trailing dot: the name to route by."""
    framing: Framing = Framing.NONE
    content_length: int = 0
    keep_alive: bool = True
    expect_continue: bool = False
    upgrade: bytes = b""
    """Lower-cased Upgrade value when Connection nominates it, else empty. h2c never counts."""


@dataclass(slots=True)
class ResponseHead:
    status: int
    reason: bytes
    headers: Headers
    minor: int = 1
    framing: Framing = Framing.NONE
    content_length: int = 0
    keep_alive: bool = True


@dataclass(slots=True)
class BodyEnd:
    """The message is complete."""

    trailers: Headers = field(default_factory=list)


RequestEvent = RequestHead | bytes | BodyEnd
ResponseEvent = ResponseHead | bytes | BodyEnd


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may send before it is refused. Bytes, or counts."""

    request_line_bytes: int = 8_192
    header_block_bytes: int = 32_768
    header_fields: int = 100
    header_field_bytes: int = 16_384
    chunk_line_bytes: int = 4_096
    chunk_extensions_bytes: int = 16_384


PUBLIC_LIMITS = Limits()
INNER_LIMITS = Limits(16_384, 49_152, 128, 24_576)
"""Inside the tunnel: the edge adds about eight fields to what the public side accepted."""


def header(headers: Headers, name: bytes) -> bytes | None:
    """The value of the first field called `name` (lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
