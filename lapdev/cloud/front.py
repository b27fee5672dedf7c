"""The front door: one listener, and a host and a path that say whom a request is for."""

from __future__ import annotations

from lapdev.cloud.asgi import AsgiBridge
from lapdev.cloud.edge import Edge
from lapdev.cloud.gate import TUNNEL_PREFIX, Gate
from lapdev.errors import NoRoute
from lapdev.model import Exposure, ExposureKind, PreviewUrl
from lapdev.net.address import Address, TcpAddress, parse_address
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange

API_PREFIX = b"/api/"

LOOPBACK_NAMES = frozenset((b"localhost", b"127.0.0.1", b"[::1]", b"::1"))

HOP = "cloud"

OTHER_NAMES = "A lapdev cloud answers to the names of its --domain and its --public-url."


class PreviewUrls:
    """What users type, made from configuration alone: never from a request's Host (row 42)."""

    def __init__(self, domain: str, public_url: str, tcp_host: str = "") -> None:
        """`tcp_host` is where raw TCP previews are listened for."""
        self._domain = domain
        # Every address of the machine is none to connect to.
        self._tcp_host = domain if tcp_host in ("", "0.0.0.0", "::") else tcp_host
        self._port = 80
        self._tls = False
        self._configured = False
        if public_url:
            address = parse_address(public_url)
            assert isinstance(address, TcpAddress)  # the settings take nothing else
            self._port, self._tls, self._configured = address.port, address.tls, True

    def served_at(self, address: Address, *, tls: bool = False) -> None:
        """Without a configured URL, the port we really listen on is the one to type."""
        if not self._configured and isinstance(address, TcpAddress):
            self._port, self._tls = address.port, tls

    def of(self, preview: PreviewUrl) -> str:
        """The whole URL of a preview."""
        return self._of(preview.label, preview.tcp_port)

    def of_exposure(self, exposure: Exposure) -> str:
        """The whole URL of an exposure."""
        url = self._of(exposure.id, exposure.port)
        return url.replace("tcp:", "udp:", 1) if exposure.kind is ExposureKind.UDP else url

    def _of(self, label: str, tcp_port: int | None) -> str:
        if tcp_port is not None:
            return f"tcp://{TcpAddress(self._tcp_host, tcp_port)}"
        port = f":{self._port}" if self._port != (443 if self._tls else 80) else ""
        return f"http{'s' if self._tls else ''}://{label}.{self._domain}{port}"


class Front:
    """Sends each request to the edge, the API or the tunnels.

    Only hosts we know by configuration are answered: a page elsewhere that resolves its own name
    to us (DNS rebinding) gets a 404, whatever credentials a browser adds.
    """

    def __init__(
        self, domain: str, public_url: str, edge: Edge, gate: Gate, api: AsgiBridge
    ) -> None:
        self._suffix = b"." + domain.encode("ascii")
        self._own_hosts = LOOPBACK_NAMES | {domain.encode("ascii")}
        if public_url:
            address = parse_address(public_url)
            if isinstance(address, TcpAddress):
                self._own_hosts |= {address.host.encode("ascii")}
        self._edge = edge
        self._gate = gate
        self._api = api

    def handle(self, exchange: Exchange) -> None:
        """Takes over one request."""
        request = exchange.request
        if request.host.endswith(self._suffix):
            self._edge.handle(exchange)
            return
        own = request.host in self._own_hosts or exchange.connection.peer == "unix"
        if own and request.target.startswith(TUNNEL_PREFIX):
            self._gate.handle(exchange)
        elif own and request.target.startswith(API_PREFIX):
            self._api.handle(exchange)
        elif own:
            error = NoRoute(
                "This is lapdev's own address; previews have addresses of their own.",
                hint="`lapdev preview list` shows them. The API is under /api/v1.",
            )
            respond_error(exchange, error, HOP)
        else:
            respond_error(exchange, NoRoute(hint=OTHER_NAMES), HOP)


class PreviewsOnly:
    """The door for pods: preview hosts lead where they always lead, everything else to a 404.

    Neither the API nor a tunnel is behind it, whatever credentials a request carries.
    """

    def __init__(self, domain: str, edge: Edge) -> None:
        self._suffix = b"." + domain.encode("ascii")
        self._edge = edge

    def handle(self, exchange: Exchange) -> None:
        """Takes over one request."""
        if exchange.request.host.endswith(self._suffix):
            self._edge.handle(exchange)
        else:
            error = NoRoute(
                "Nothing is served under this name.", hint="Only preview URLs are, from here."
            )
            respond_error(exchange, error, HOP)
