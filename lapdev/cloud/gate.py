"""Who may open a tunnel: a path names the role, a bearer token proves the rest.

Tokens are compared by their SHA-256, which is all the store has of them. A token in a query string
is refused without being looked at, and never logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lapdev.cloud.admission import Admission
from lapdev.cloud.tokens import sha256_hex
from lapdev.errors import Forbidden, LapdevError, LoginRequired, NoRoute, RemoteProtocolError
from lapdev.model import Identity, RoleName
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.tasks import Tasks
from lapdev.store import Store
from lapdev.tunnel import TunnelServer
from lapdev.wire.http1 import Headers, header

TUNNEL_PREFIX = b"/_lapdev/tunnel/"

HOP = "cloud"


def bearer_token(headers: Headers) -> str:
    """The bearer token of a request.

    Raises:
        LoginRequired: there is none.
    """
    value = header(headers, b"authorization") or b""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise LoginRequired("no bearer token", hint="send `Authorization: Bearer <token>`")
    return token.strip().decode("latin-1")


class Gate:
    """Turns tunnel requests into authenticated tunnels."""

    def __init__(self, store: Store, tasks: Tasks, admission: Admission | None = None) -> None:
        self.admission = admission or Admission()
        self._store = store
        self._tasks = tasks
        self._doors: dict[bytes, tuple[TunnelServer, Callable[[str], Awaitable[Identity]]]] = {}

    def serve(self, manager: TunnelServer, sidecar: TunnelServer, devbox: TunnelServer) -> None:
        """Each role's tunnels are taken by its server."""
        self._doors = {
            b"manager": (manager, self._manager),
            b"sidecar": (sidecar, self._sidecar),
            b"devbox": (devbox, self._devbox),
        }

    def handle(self, exchange: Exchange) -> None:
        """Takes over one request below `TUNNEL_PREFIX`."""
        self._tasks.spawn(self._admit(exchange), "admit tunnel")

    async def _admit(self, exchange: Exchange) -> None:
        try:
            path, question, _ = exchange.request.target.partition(b"?")
            if question:
                raise RemoteProtocolError("a tunnel address has no query string")
            door = self._doors.get(path.removeprefix(TUNNEL_PREFIX))
            if door is None:
                raise NoRoute("no such tunnel address")
            server, authenticate = door
            identity = await authenticate(bearer_token(exchange.request.headers))
            if exchange.request.upgrade != b"websocket":
                raise RemoteProtocolError("a tunnel begins with a websocket upgrade", status=426)
            # Only now: strangers do not stand in the line.
            await self.admission.turn()
        except LapdevError as exc:
            exchange.keep_alive = False
            if not exchange.finished:
                respond_error(exchange, exc, HOP)
            return
        except Exception:
            # The task's owner logs it; the client must not wait for an answer that will not come.
            if not exchange.finished:
                respond_error(exchange, LapdevError(), HOP)
            raise
        if not exchange.finished:
            server.accept(exchange, identity)

    async def _manager(self, token: str) -> Identity:
        digest = sha256_hex(token)
        cluster = await self._store.cluster_by_token(digest)
        if cluster is None:
            raise await self._turned_away(digest, "this is not the token of a cluster")
        return Identity(RoleName.MANAGER, cluster.id)

    async def _sidecar(self, token: str) -> Identity:
        digest = sha256_hex(token)
        intercept = await self._store.intercept_by_token(digest)
        if intercept is None:
            raise await self._turned_away(digest, "this is not the token of a live intercept")
        return Identity(RoleName.SIDECAR, intercept.id)

    async def _devbox(self, token: str) -> Identity:
        digest = sha256_hex(token)
        if not await self._store.token_valid(digest):
            raise await self._turned_away(digest, "this is not a valid API token")
        return Identity(RoleName.DEVBOX, digest[:16])

    async def _turned_away(self, digest: str, problem: str) -> LapdevError:
        """401 for a token nobody has, 403 for one that opens another door."""
        known = (
            await self._store.token_valid(digest)
            or await self._store.cluster_by_token(digest) is not None
            or await self._store.intercept_by_token(digest) is not None
        )
        if known:
            return Forbidden(f"{problem}; it opens another kind of tunnel")
        return LoginRequired(problem)
