"""What travels with a preview request: the client's routing claims go, the edge's own come.

Deleting always precedes injecting, also when there is nothing to inject (robustness rows 27, 38,
39, 76): a header that only the edge may set must never survive from outside.
"""

from __future__ import annotations

import re
import secrets

from lapdev.model import EnvironmentId
from lapdev.net.exchange import Exchange
from lapdev.wire.http1 import Headers, RequestHead, header, strip_hop_by_hop, without_framing
from lapdev.wire.tracestate import (
    TRACESTATE_KEY,
    ensure_traceparent,
    stamp_member,
    strip_baggage,
    strip_member,
)

# `_` twins: many app servers fold `_` and `-` into one variable (CVE-2024-45614).
_OURS = re.compile(
    rb"lapdev[-_].*|x[-_]forwarded[-_](?:for|proto|host|port|by|prefix|server|ssl)"
    rb"|forwarded|x[-_]real[-_]ip|x[-_]request[-_]id|client[-_]ip|true[-_]client[-_]ip",
    re.IGNORECASE,
)


def stamp(exchange: Exchange, branch: EnvironmentId | None, exchange_id: str) -> RequestHead:
    """The request's head as it leaves the edge, without framing and Connection fields."""
    request = exchange.request
    headers = without_framing(strip_hop_by_hop(request.headers))
    headers = [field for field in headers if not _OURS.fullmatch(field[0])]
    headers = strip_baggage(headers, TRACESTATE_KEY)
    if branch is None:
        headers = strip_member(headers, TRACESTATE_KEY)
    else:
        headers = stamp_member(headers, TRACESTATE_KEY, branch.encode())
    headers = ensure_traceparent(headers, exchange_id.encode(), secrets.token_hex(8).encode())
    headers += _forwarded(exchange, exchange_id)
    return RequestHead(
        request.method,
        request.target,
        1,
        headers,
        request.host,
        request.framing,
        request.content_length,
        expect_continue=request.expect_continue,
        upgrade=request.upgrade,
    )


def _forwarded(exchange: Exchange, exchange_id: str) -> Headers:
    # RFC 7239 §6.2: "unknown" where the node is not known; a pod comes by a socket without one.
    peer = "unknown" if exchange.connection.peer == "unix" else exchange.connection.peer
    authority = header(exchange.request.headers, b"host") or exchange.request.host
    port = authority.rpartition(b":")[2]
    proto, default_port = (b"https", b"443") if exchange.connection.tls else (b"http", b"80")
    node = f'"[{peer}]"' if ":" in peer else peer
    return [
        (b"x-forwarded-for", peer.encode()),
        (b"x-forwarded-proto", proto),
        (b"x-forwarded-host", authority),
        (b"x-forwarded-port", port if port.isdigit() else default_port),
        (b"forwarded", b'for=%s;host="%s";proto=%s' % (node.encode(), authority, proto)),
        (b"x-request-id", exchange_id.encode()),
    ]
