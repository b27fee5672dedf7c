"""The front door: one listener, and a host and a path that say whom a request is for."""

from __future__ import annotations

from lapdev.cloud.asgi import AsgiBridge
from lapdev.cloud.edge import Edge
from lapdev.cloud.gate import TUNNEL_PREFIX, Gate
from lapdev.errors import NoRoute
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange

API_PREFIX = b"/api/"

LOOPBACK_NAMES = frozenset((b"localhost", b"127.0.0.1", b"[::1]", b"::1"))

HOP = "cloud"


class Front:
    """Sends each request to the edge, the API or the tunnels.

    Only hosts we know by configuration are answered: a page elsewhere that resolves its own name
    to us (DNS rebinding) gets a 404, whatever credentials a browser adds.
    """

    def __init__(self, domain: str, public_url: str, edge: Edge, gate: Gate) -> None:
        self._suffix = b"." + domain.encode("ascii")
        self._own_hosts = LOOPBACK_NAMES | {domain.encode("ascii")}
        if public_url:
            address = parse_address(public_url)
            if isinstance(address, TcpAddress):
                self._own_hosts |= {address.host.encode("ascii")}
        self._edge = edge
        self._gate = gate
        self.api: AsgiBridge | None = None

    def handle(self, exchange: Exchange) -> None:
        """Takes over one request."""
        request = exchange.request
        if request.host.endswith(self._suffix):
            self._edge.handle(exchange)
            return
        own = request.host in self._own_hosts or exchange.connection.peer == "unix"
        if own and request.target.startswith(TUNNEL_PREFIX):
            self._gate.handle(exchange)
        elif own and self.api is not None and request.target.startswith(API_PREFIX):
            self.api.handle(exchange)
        elif own:
            error = NoRoute(
                "This is lapdev's own address; previews have addresses of their own.",
                hint="`lapdev preview list` shows them. The API is under /api/v1.",
            )
            respond_error(exchange, error, HOP)
        else:
            respond_error(exchange, NoRoute("Nothing is served under this name."), HOP)
