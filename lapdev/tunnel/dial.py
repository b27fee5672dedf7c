"""One try to connect: dial, say HELLO, hear WELCOME."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Protocol

from lapdev.errors import ConfigError, LapdevError, RemoteProtocolError, TunnelClosed, TunnelRefused
from lapdev.model import RoleName
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.listener import dial
from lapdev.net.way_out import WayOut
from lapdev.net.websocket import (
    ClientTarget,
    Lost,
    Message,
    WebsocketConnection,
    WebsocketOptions,
)
from lapdev.tunnel.options import TunnelOptions
from lapdev.wire.mux import SUBPROTOCOL, CloseCode, Hello, Welcome, decode_welcome, encode_hello
from lapdev.wire.mux.frames import MAX_LINKS


def new_id() -> str:
    """A random id for an instance or a session."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class UplinkOptions:
    address: str
    """`unix:PATH`, `http://host:port` or `https://host:port`."""
    path: str
    token: str = field(repr=False)
    role: str
    instance: str
    """A random id of this process; see `new_id`."""
    replaces: str = ""
    """The instance this process has taken the place of, if it knows."""
    peer_role: RoleName = RoleName.CLOUD
    """Whom we dial, for `Tunnel.identity` and logs."""
    way: WayOut = field(default_factory=WayOut)
    """Through which proxy, and whose certificates are believed."""
    links: int = 1
    """Connections of one session, as far as the acceptor takes so many."""
    tunnel: TunnelOptions = field(default_factory=TunnelOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.links <= MAX_LINKS:
            raise ConfigError(
                f"a tunnel of {self.links} links",
                hint=f"set tunnel_links to a number from 1 to {MAX_LINKS}",
            )


class Welcomed(Protocol):
    """Who takes the connection over; see `connect`."""

    def __call__(self, websocket: WebsocketConnection, welcome: Welcome) -> None: ...


async def connect(
    options: UplinkOptions, hello: Hello, welcomed: Welcomed, connect_timeout: float | None = None
) -> None:
    """A new connection has been welcomed: `welcomed` has run with it, and heard what followed.

    `connect_timeout`: until there is a connection at all; the handshake has its own.

    Raises:
        OSError, TimeoutError, LapdevError: it has not, and there is no connection. What `welcomed`
            raised (TunnelClosed, TunnelRefused) is among them.
    """
    greeting = _Greeting(hello, welcomed)
    websocket: WebsocketConnection | None = None
    try:
        async with asyncio.timeout(options.tunnel.handshake_timeout):
            async with asyncio.timeout(connect_timeout):
                websocket = await _dial(options, greeting)
            await greeting.done
    except (OSError, TimeoutError, LapdevError):
        if not greeting.welcomed:
            raise
    finally:
        if not greeting.welcomed and websocket is not None:
            websocket.abort()
            await websocket.wait_closed()


class _Greeting:
    """The websocket's listener until WELCOME."""

    def __init__(self, hello: Hello, welcomed: Welcomed) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # When dialling itself fails nobody is left to ask how the greeting went.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.welcomed = False
        self._take = welcomed
        self._hello = hello

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        websocket.send(encode_hello(self._hello))

    def message_received(self, websocket: WebsocketConnection, message: Message) -> None:
        try:
            welcome = decode_welcome(message)
            if welcome.session != self._hello.session:
                raise RemoteProtocolError("WELCOME names another session")
            # At once, not when the waiting task runs: frames may follow in the same read.
            self._take(websocket, welcome)
        except RemoteProtocolError as exc:
            websocket.close(CloseCode.PROTOCOL_ERROR, exc.detail)
            self._finish(exc)
            return
        except TunnelClosed as exc:
            websocket.close(CloseCode.NORMAL, exc.detail)
            self._finish(exc)
            return
        except TunnelRefused as exc:
            websocket.abort()  # any close code would say something of the session
            self._finish(exc)
            return
        self.welcomed = True
        self._finish(None)

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        error = lost.error if isinstance(lost.error, LapdevError) else None
        self._finish(error or TunnelRefused(str(lost)))

    def bytes_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def _finish(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


async def _dial(options: UplinkOptions, greeting: _Greeting) -> WebsocketConnection:
    address = parse_address(options.address)
    host, port, secure = "localhost", 80, False
    if isinstance(address, TcpAddress):
        host, port, secure = address.host, address.port, address.tls
    headers = (("Authorization", f"Bearer {options.token}"),)
    target = ClientTarget(host, port, secure, options.path, headers)
    limits = WebsocketOptions(SUBPROTOCOL, close_timeout=options.tunnel.close_timeout)
    _, websocket = await dial(
        address, lambda: WebsocketConnection.client(target, greeting, limits), options.way
    )
    return websocket
