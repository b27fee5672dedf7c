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
    keys = [name.lower() for name, _ in headers]
    if _HOP_BY_HOP.isdisjoint(keys):
        return list(headers)
    dropped = _HOP_BY_HOP | _nominated(headers)
    kept: Headers = []
    for key, field in zip(keys, headers, strict=True):
        if key not in dropped:
            kept.append(field)
        elif key == b"te" and b"trailers" in _members(field[1]):
            # "trailers" says that the client side of *every* hop can take them; no other member
            # concerns the next hop (RFC 9110 §10.1.4).
            kept.append((field[0], b"trailers"))
    return kept


def _nominated(headers: Headers) -> set[bytes]:
    """The fields that the Connection fields name and may have removed."""
    return {
        option
        for name, value in headers
        if name.lower() == b"connection"
        for option in _members(value)
        if option not in _PROTECTED and not option.startswith(_PROTECTED_PREFIXES)
    }


def _members(value: bytes) -> list[bytes]:
    return [member.strip(b" \t") for member in value.lower().split(b",")]


def without_framing(headers: Headers) -> Headers:
    """The fields without Content-Length and Transfer-Encoding."""
    return [field for field in headers if field[0].lower() not in _FRAMING]
