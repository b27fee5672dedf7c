"""Events to bytes. What is written is what the caller gave: framing fields are the caller's.

The start line says HTTP/1.1 whatever the received message said: "Intermediaries that process HTTP
messages […] MUST send their own HTTP-version in forwarded messages" (RFC 9110 §6.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from lapdev.errors import LocalProtocolError
from lapdev.wire.http1.events import Framing, Headers, RequestHead, ResponseHead


def request_bytes(head: RequestHead) -> bytes:
    """The head on the wire.

    Raises:
        LocalProtocolError: a CR, LF or NUL anywhere, or a space in method or target.
    """
    if b" " in head.method or b" " in head.target:
        raise LocalProtocolError("a space in the method or the request target")
    return _head_bytes(b"%b %b HTTP/1.1" % (head.method, head.target), head.headers)


def response_bytes(head: ResponseHead) -> bytes:
    """The head on the wire.

    Raises:
        LocalProtocolError: a CR, LF or NUL anywhere.
    """
    return _head_bytes(b"HTTP/1.1 %d %b" % (head.status, head.reason), head.headers)


def chunk_bytes(data: bytes) -> bytes:
    """`data` as one chunk; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk_bytes(trailers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """The end of a chunked body.

    Raises:
        LocalProtocolError: a CR, LF or NUL in a trailer.
    """
    return _head_bytes(b"0", trailers) if trailers else b"0\r\n\r\n"


def framing_headers(framing: Framing, content_length: int) -> Headers:
    """The fields that announce a body framed like this; none where nothing is announced.

    An empty body that must be announced, as in most answers, is `Framing.LENGTH` with length 0.
    """
    if framing is Framing.LENGTH:
        return [(b"Content-Length", b"%d" % content_length)]
    if framing is Framing.CHUNKED:
        return [(b"Transfer-Encoding", b"chunked")]
    return []


def _head_bytes(start_line: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    head = b"\r\n".join([start_line, *map(b": ".join, headers), b"", b""])
    # One look at the whole: more line ends than lines means that a field brought its own (response
    # splitting), and a NUL ends the line for some readers.
    lines = len(headers) + 2
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        raise LocalProtocolError("a CR, LF or NUL in a message head")
    return head
