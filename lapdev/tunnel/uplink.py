"""The dialling end: connects, proves who it is, resumes, and comes back when it was cut off."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from lapdev.errors import LapdevError, RemoteProtocolError, TunnelClosed, TunnelRefused
from lapdev.log import get_logger
from lapdev.model import Identity, RoleName
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.listener import dial
from lapdev.net.websocket import ClientTarget, Lost, WebsocketConnection, WebsocketOptions
from lapdev.tunnel.back_off import BackOff
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.options import TunnelOptions
from lapdev.tunnel.tunnel import Tunnel
from lapdev.wire.mux import (
    SUBPROTOCOL,
    CloseCode,
    Hello,
    Welcome,
    decode_welcome,
    encode_hello,
)


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
    tunnel: TunnelOptions = field(default_factory=TunnelOptions)


class Uplink:
    """One session after another with the process at `options.address`."""

    def __init__(self, options: UplinkOptions, handler: TunnelHandler) -> None:
        self.tunnel: Tunnel | None = None
        """The session of the hour, also while its connection is away; None when there is none."""
        self.last_error: Exception | None = None
        """Why the last try failed; None while connected. TunnelRefused: the credential."""
        self.on_failed: Callable[[Exception], None] | None = None
        """Runs after each try that failed; must not raise."""
        self._options = options
        self._handler = handler
        self._session = new_id()
        self._up = asyncio.Event()
        self._down: asyncio.Future[None] | None = None
        self._replaced = False

    async def run(self) -> None:
        """Stays connected until cancelled; then the session is over at both ends."""
        loop = asyncio.get_running_loop()
        back_off = BackOff(self._options.tunnel, loop.time())
        try:
            while True:
                await asyncio.sleep(max(back_off.delay(loop.time()), self._least_delay()))
                if not await self._connect():
                    continue
                up_since = loop.time()
                if self._down is not None:
                    await self._down
                back_off.connection_lost(up_since, loop.time())
        finally:
            tunnel, self.tunnel = self.tunnel, None
            if tunnel is not None:
                await tunnel.aclose("the dialling end stops")

    async def wait_up(self) -> Tunnel:
        """The connected tunnel. Waits for as long as it takes."""
        while True:
            await self._up.wait()
            if self.tunnel is not None and self.tunnel.connected:
                return self.tunnel
            self._up.clear()

    async def _connect(self) -> bool:
        """Whether the session is attached to a new connection."""
        greeting = _Greeting(self)
        websocket: WebsocketConnection | None = None
        try:
            async with asyncio.timeout(self._options.tunnel.handshake_timeout):
                websocket = await _dial(self._options, greeting)
                await greeting.done
        except (OSError, TimeoutError, LapdevError) as exc:
            if not greeting.welcomed:
                self._report(exc)
                return False
        finally:
            if not greeting.welcomed and websocket is not None:
                websocket.abort()
                await websocket.wait_closed()
        return True

    def _least_delay(self) -> float:
        options, error = self._options.tunnel, self.last_error
        if isinstance(error, TunnelRefused) and error.answer_status in (401, 403):
            return options.refused_delay
        return options.replaced_delay if self._replaced else 0.0

    def _report(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            timeout = self._options.tunnel.handshake_timeout
            error = TunnelRefused(f"no answer within {timeout:g} s")
        # One line for a lasting failure, not one per try.
        if str(error) != str(self.last_error):
            get_logger().warning(
                "tunnel_dial_failed",
                address=self._options.address,
                error=str(error) or type(error).__name__,
            )
        self.last_error = error
        if self.on_failed is not None:
            self.on_failed(error)

    def hello(self) -> Hello:
        options = self._options
        return Hello(
            role=options.role,
            instance=options.instance,
            session=self._session,
            resume=self.tunnel is not None,
            replaces=options.replaces,
        )

    def welcomed(self, websocket: WebsocketConnection, welcome: Welcome) -> None:
        """The acceptor has taken the session, or begun it anew.

        Raises:
            TunnelClosed: our grace time ended while the acceptor said that it goes on.
        """
        if self.tunnel is None and welcome.resumed:
            raise TunnelClosed("the session ended while it was being resumed")
        if self.tunnel is not None and not welcome.resumed:
            self.tunnel.end(TunnelClosed("the other end does not know the session any more"))
        self._session = welcome.session
        self._replaced = False
        self.last_error = None
        self._down = asyncio.get_running_loop().create_future()
        tunnel = self.tunnel
        if tunnel is None:
            identity = Identity(self._options.peer_role, self._options.address)
            key = TunnelKey(identity, welcome.instance, welcome.session)
            tunnel = Tunnel(key, self._handler, self._options.tunnel.agreed(welcome), dialler=True)
            tunnel.on_down = self._tunnel_down
            self.tunnel = tunnel
        tunnel.attach(websocket, resumed=welcome.resumed)
        self._up.set()

    def _tunnel_down(self) -> None:
        self._up.clear()
        tunnel = self.tunnel
        if tunnel is not None and tunnel.closed:
            self.tunnel = None
            self._session = new_id()
            self._replaced = tunnel.close_code == CloseCode.REPLACED
        if self._down is not None and not self._down.done():
            self._down.set_result(None)


class _Greeting:
    """The websocket's listener until WELCOME."""

    def __init__(self, uplink: Uplink) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # When dialling itself fails nobody is left to ask how the greeting went.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.welcomed = False
        self._uplink = uplink
        self._session = ""

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        hello = self._uplink.hello()
        self._session = hello.session
        websocket.send(encode_hello(hello))

    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None:
        try:
            welcome = decode_welcome(message)
            if welcome.session != self._session:
                raise RemoteProtocolError("WELCOME names another session")
        except RemoteProtocolError as exc:
            websocket.close(CloseCode.PROTOCOL_ERROR, exc.detail)
            self._finish(exc)
            return
        try:
            # At once, not when the waiting task runs: frames may follow in the same read.
            self._uplink.welcomed(websocket, welcome)
        except TunnelClosed as exc:
            websocket.close(CloseCode.NORMAL, exc.detail)
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
    _, websocket = await dial(address, lambda: WebsocketConnection.client(target, greeting, limits))
    return websocket
