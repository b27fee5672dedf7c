"""HTTP/1.1 (RFC 9110, RFC 9112): bytes to events and events to bytes, nothing else.

The room's law: strict in both directions. A message is accepted only if every conforming reader
understands it in one way; everything else is a `RemoteProtocolError` that carries the status owed.
The same bytes give the same events however they are cut, and limits hold for a message, not for a
piece of it. The parsers never answer by themselves, never decode a body, and never normalise what
they pass on; the serializer never writes what the parsers would refuse for a line end in it.
"""

from lapdev.wire.http1.events import (
    INNER_LIMITS,
    PUBLIC_LIMITS,
    BodyEnd,
    Framing,
    Headers,
    Limits,
    RequestEvent,
    RequestHead,
    ResponseEvent,
    ResponseHead,
    header,
)
from lapdev.wire.http1.forwarding import strip_hop_by_hop, without_framing
from lapdev.wire.http1.request_parser import RequestParser
from lapdev.wire.http1.response_parser import ResponseParser
from lapdev.wire.http1.serializer import (
    chunk_bytes,
    framing_headers,
    last_chunk_bytes,
    request_bytes,
    response_bytes,
)

__all__ = [
    "INNER_LIMITS",
    "PUBLIC_LIMITS",
    "BodyEnd",
    "Framing",
    "Headers",
    "Limits",
    "RequestEvent",
    "RequestHead",
    "RequestParser",
    "ResponseEvent",
    "ResponseHead",
    "ResponseParser",
    "chunk_bytes",
    "framing_headers",
    "header",
    "last_chunk_bytes",
    "request_bytes",
    "response_bytes",
    "strip_hop_by_hop",
    "without_framing",
]
