"""The sidecars' listener: one path, one kind of credential, everything else is not there."""

from __future__ import annotations

from collections.abc import Callable

from lapdev.errors import LapdevError, LoginRequired, NoRoute, RemoteProtocolError
from lapdev.model import Identity
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.tunnel import TunnelServer
from lapdev.wire.http1 import Headers, header

POD_PATH = b"/_lapdev/tunnel/pod"


def sidecar_door(
    authenticate: Callable[[str], Identity | None], server: TunnelServer
) -> Callable[[Exchange], None]:
    """The handler for the sidecars' `HttpServer`: who holds a pod's token gets its tunnel."""

    def handle(exchange: Exchange) -> None:
        try:
            identity = _admit(exchange, authenticate)
        except LapdevError as exc:
            exchange.keep_alive = False
            respond_error(exchange, exc, "manager")
            return
        server.accept(exchange, identity)

    return handle


def _admit(exchange: Exchange, authenticate: Callable[[str], Identity | None]) -> Identity:
    request = exchange.request
    path, question, _ = request.target.partition(b"?")
    if path != POD_PATH:
        raise NoRoute()
    if question:
        raise RemoteProtocolError("a tunnel address has no query string")
    identity = authenticate(_bearer_token(request.headers))
    if identity is None:
        raise LoginRequired("this is not the token of a running pod")
    if request.upgrade != b"websocket":
        raise RemoteProtocolError("a tunnel begins with a websocket upgrade", status=426)
    return identity


def _bearer_token(headers: Headers) -> str:
    scheme, _, token = (header(headers, b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        return ""
    return token.strip().decode("latin-1")
