"""Which fields of a received message go on to the next hop (RFC 9110 §7.6.1)."""

from __future__ import annotations

from lapdev.wire.http1.events import Headers

# "Intermediaries SHOULD remove or replace fields that are known to require removal before
# forwarding, whether or not they appear as a connection-option" (RFC 9110 §7.6.1). Trailer is kept:
# we forward trailers. HTTP2-Settings went with h2c (RFC 9113 §3.1).
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)

# What a client cannot have removed by naming it in Connection: `Connection: X-Forwarded-For` has
# taken a proxy's own identity fields away from the application behind it (CVE-2024-45410).
_PROTECTED = frozenset(
    (
        b"authorization",
        b"baggage",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"set-cookie",
        b"traceparent",
        b"tracestate",
        b"trailer",
        b"via",
        b"x-real-ip",
        b"x-request-id",
    )
)
_PROTECTED_PREFIXES = (b"lapdev-", b"x-forwarded-")

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))


def strip_hop_by_hop(headers: Headers) -> Headers:
    """The fields that are meant for the next hop, too. Content-Length is among them.

    An upgrade that is to be forwarded needs its Connection and Upgrade fields added again.
    """
    nominated: set[bytes] = set()
    dropped = 0
    for name, value in headers:
        key = name.lower()
        if key in _HOP_BY_HOP:
            dropped += 1
            if key == b"connection":
                nominated |= _nominated(value)
    if not dropped:
        return list(headers)
    kept: Headers = []
    for field in headers:
        key = field[0].lower()
        if key == b"te" and b"trailers" in _members(field[1]):
            # "trailers" says that the client side of *every* hop can take them; no other member
            # concerns the next hop (RFC 9110 §10.1.4).
            kept.append((field[0], b"trailers"))
        elif key not in _HOP_BY_HOP and key not in nominated:
            kept.append(field)
    return kept


def _nominated(value: bytes) -> set[bytes]:
    """The fields that a Connection value may have removed."""
    return {
        option
        for option in _members(value)
        if option not in _PROTECTED and not option.startswith(_PROTECTED_PREFIXES)
    }


def _members(value: bytes) -> list[bytes]:
    return [member.strip(b" \t") for member in value.lower().split(b",")]


def without_framing(headers: Headers) -> Headers:
    """The fields without Content-Length and Transfer-Encoding."""
    return [field for field in headers if field[0].lower() not in _FRAMING]
