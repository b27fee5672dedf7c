"""A downstream connection's own upstream connections: streams over tunnels, kept while it lives.

They are never shared between visitors, and close with the connection they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.http_connection import HttpConnection
from lapdev.tunnel import Tunnel
from lapdev.wire.control import ExposureTarget, ServiceTarget
from lapdev.wire.http1 import INNER_LIMITS

UPSTREAMS = "edge.upstreams"
"""Key in the downstream connection's state."""


@dataclass(slots=True)
class Upstream:
    tunnel: Tunnel
    connection: UpstreamConnection

    @property
    def reusable(self) -> bool:
        tunnel = self.tunnel
        return tunnel.connected and not tunnel.draining and self.connection.reusable


Upstreams = dict[ServiceTarget | ExposureTarget, Upstream]


def open_upstream(tunnel: Tunnel, target: ServiceTarget | ExposureTarget) -> Upstream:
    """A new stream to `target`.

    Raises:
        TunnelError: the tunnel takes no more.
    """
    connection = UpstreamConnection(INNER_LIMITS)
    tunnel.open_stream(target, connection)
    return Upstream(tunnel, connection)


def upstreams_of(exchange: Exchange) -> Upstreams:
    """The connection's, by target."""
    state = exchange.connection.state
    upstreams: Upstreams | None = state.get(UPSTREAMS)
    if upstreams is None:
        upstreams = state[UPSTREAMS] = {}
        exchange.connection.on_close.append(_closing(upstreams))
    return upstreams


def leave_tunnel(connection: HttpConnection, tunnel: Tunnel) -> None:
    """Nothing idle of the connection stays on the tunnel."""
    upstreams: Upstreams = connection.state.get(UPSTREAMS, {})
    for upstream in upstreams.values():
        if upstream.tunnel is tunnel and upstream.connection.reusable:
            upstream.connection.close()


def _closing(upstreams: Upstreams) -> Callable[[], None]:
    def close() -> None:
        for upstream in upstreams.values():
            upstream.connection.close()
        upstreams.clear()

    return close
