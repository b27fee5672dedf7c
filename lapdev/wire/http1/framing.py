"""Where a body ends: RFC 9112 §6.3 as numbered steps, one function for each direction.

A declared length of zero is a declared length: an empty answer that is forwarded without its
Content-Length would have no end. `Framing.NONE` means that nothing was, or can be, declared.

Both read only the `Facts` that were collected from the head. A message that two readers could
frame in two ways is refused, also where the RFC lets a recipient repair it: we forward messages.
"""

from __future__ import annotations

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import abnf
from lapdev.wire.http1.events import Framing, Headers

Facts = dict[bytes, tuple[bytes, ...]]
"""The values of every line of the fields in `_WATCHED`; a field that is absent is not a key."""

_WATCHED = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"host", b"expect", b"upgrade")
)


def collect_facts(headers: Headers) -> Facts:
    """What the framing, the routing and the connection depend on."""
    facts: Facts = {}
    for name, value in headers:
        key = name.lower()
        if key in _WATCHED:
            facts[key] = (*facts[key], value) if key in facts else (value,)
    return facts


def request_framing(facts: Facts, minor: int) -> tuple[Framing, int]:
    """How a request's body ends, and its length if that is known beforehand.

    Raises:
        RemoteProtocolError: 400 or 501, as RFC 9112 §6.1 and §6.3 have it.
    """
    # 1. and 2. concern responses only.
    # 3. "If a message is received with both a Transfer-Encoding and a Content-Length header
    #    field […] Such a message might indicate an attempt to perform request smuggling": 400.
    # 4. "If a Transfer-Encoding header field is present and the chunked transfer coding (§7.1) is
    #    the final encoding, the message body length is determined by reading and decoding the
    #    chunked data". Without chunked as the final one "the server MUST respond with the 400".
    if b"transfer-encoding" in facts:
        _check_transfer_encoding(facts, minor)
        return Framing.CHUNKED, 0
    # 5. "If a message is received without Transfer-Encoding and with an invalid Content-Length
    #    header field, then the message framing is invalid": 400.
    # 6. "If a valid Content-Length header field is present without Transfer-Encoding, its decimal
    #    value defines the expected message body length in octets".
    if b"content-length" in facts:
        return Framing.LENGTH, _content_length(facts[b"content-length"])
    # 7. "If this is a request message and none of the above are true, then the message body length
    #    is zero".
    return Framing.NONE, 0


def response_framing(facts: Facts, minor: int, status: int, method: bytes) -> tuple[Framing, int]:
    """How the body of the answer to a `method` request ends, and its length if known beforehand.

    Raises:
        RemoteProtocolError: the framing is invalid or ambiguous.
    """
    # The fields are judged before step 1 may ignore them: what we forward is read by others.
    chunked = b"transfer-encoding" in facts
    if chunked:
        _check_transfer_encoding(facts, minor)
    length = _content_length(facts[b"content-length"]) if b"content-length" in facts else -1
    # 1. "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No
    #    Content), or 304 (Not Modified) status code is always terminated by the first empty line
    #    after the header fields". A 101 ends HTTP on the connection (RFC 9110 §7.8).
    if status == 101:
        return Framing.SWITCHED, 0
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE, 0
    # 2. "Any 2xx (Successful) response to a CONNECT request": no request of ours is a CONNECT.
    # 3. and 4.
    if chunked:
        return Framing.CHUNKED, 0
    # 5. and 6.
    if length >= 0:
        return Framing.LENGTH, length
    # 7. concerns requests only.
    # 8. "Otherwise, this is a response message without a declared message body length, so the
    #    message body length is determined by the number of octets received prior to the server
    #    closing the connection".
    return Framing.UNTIL_CLOSE, 0


def connection_options(facts: Facts) -> list[bytes]:
    """The options of all Connection fields, lower case (RFC 9110 §7.6.1)."""
    lines = facts.get(b"connection")
    if lines is None:
        return []
    return [option.strip(b" \t") for option in b",".join(lines).lower().split(b",")]


def keeps_alive(options: list[bytes], minor: int) -> bool:
    """Whether the connection persists after this message (RFC 9112 §9.3)."""
    if b"close" in options:
        return False
    return minor >= 1 or b"keep-alive" in options


def _check_transfer_encoding(facts: Facts, minor: int) -> None:
    if b"content-length" in facts:
        raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
    # "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header
    # field MUST treat the message as if the framing is faulty" (RFC 9112 §6.1).
    if minor == 0:
        raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    lines = facts[b"transfer-encoding"]
    if len(lines) > 1:
        raise RemoteProtocolError("more than one Transfer-Encoding field")
    if lines[0].lower() == b"chunked":
        return
    # "A server that receives a request message with a transfer coding it does not understand
    # SHOULD respond with 501" (RFC 9112 §6.1). What is no coding at all is a 400.
    is_coding = abnf.TRANSFER_CODINGS.fullmatch(lines[0]) is not None
    raise RemoteProtocolError(
        "a Transfer-Encoding other than chunked", status=501 if is_coding else 400
    )


def _content_length(lines: tuple[bytes, ...]) -> int:
    # Equal lengths may be collapsed (§6.3 step 5), but whoever sends two is not worth the risk.
    if len(lines) > 1:
        raise RemoteProtocolError("more than one Content-Length field")
    if abnf.CONTENT_LENGTH.fullmatch(lines[0]) is None:
        raise RemoteProtocolError("Content-Length is not a plain decimal number")
    return int(lines[0])
