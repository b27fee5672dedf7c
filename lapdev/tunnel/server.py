"""The accepting end: takes over upgrade requests, and knows which session each belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lapdev.errors import Overloaded, RemoteProtocolError, TunnelClosed
from lapdev.log import get_logger
from lapdev.model import Identity
from lapdev.net.websocket import Lost, Message, WebsocketConnection, WebsocketOptions
from lapdev.tunnel.counters import TunnelCounters
from lapdev.tunnel.dial import new_id
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.options import TunnelOptions
from lapdev.tunnel.sleep_watch import SleepWatch
from lapdev.tunnel.tunnel import Tunnel
from lapdev.wire.http1.events import RequestHead
from lapdev.wire.mux import (
    SUBPROTOCOL,
    CloseCode,
    Hello,
    Welcome,
    decode_hello,
    encode_welcome,
)
from lapdev.wire.mux.frames import violation


class Upgrade(Protocol):
    """What is needed of an exchange."""

    @property
    def request(self) -> RequestHead: ...
    def detach(self) -> tuple[asyncio.Transport, bytes]: ...
    def finish_detached(self, error: str) -> None: ...


@dataclass(frozen=True, slots=True)
class TunnelServerOptions:
    instance: str = field(default_factory=new_id)
    """This process."""
    tunnel: TunnelOptions = field(default_factory=TunnelOptions)


class TunnelServer:
    """Every session this process accepts, by (identity, instance).

    The newest session of an instance replaces the older; instances of one identity live side by
    side. Who may be which identity was decided before `accept`.
    """

    def __init__(self, handler: TunnelHandler, options: TunnelServerOptions | None = None) -> None:
        self._handler = handler
        self._options = options or TunnelServerOptions()
        self.counters = TunnelCounters()
        self.on_draining: Callable[[Tunnel], None] | None = None
        """Runs when a peer says that its process stops: what idles on the tunnel is to end."""
        self.admit_session: Callable[[], None] | None = None
        """Raises Overloaded when no new session is to begin; those that are held are resumed."""
        self._sessions: dict[tuple[Identity, str], Tunnel] = {}
        self._greetings: set[_Greeting] = set()
        self._leaving: tuple[float, str] | None = None
        """Until when sessions last, and why: nothing new is begun."""
        self._watch = SleepWatch(self._woke, self._options.tunnel.wake_check_interval)

    @property
    def tunnels(self) -> list[Tunnel]:
        """The sessions that are not over, connected or within their grace time."""
        return list(self._sessions.values())

    @property
    def up(self) -> int:
        """How many of them are connected."""
        return sum(tunnel.connected for tunnel in self._sessions.values())

    def accept(self, exchange: Upgrade, identity: Identity) -> None:
        """The exchange's connection becomes a tunnel's, or is answered with an error and closed."""
        greeting = _Greeting(self, exchange, identity, self._options.tunnel.handshake_timeout)
        self._greetings.add(greeting)
        head = exchange.request
        transport, leftover = exchange.detach()
        websocket = WebsocketConnection.server(
            head,
            greeting,
            WebsocketOptions(SUBPROTOCOL, close_timeout=self._options.tunnel.close_timeout),
        )
        websocket.on_closed = greeting.closed
        greeting.websocket = websocket
        websocket.take_over(transport, leftover)

    def go_away(self, seconds: float, reason: str = "the process stops") -> None:
        """Every peer is told to open its next session elsewhere; none is begun here any more.

        Streams go on, and this end may still open some: for requests it has already taken.
        """
        self._leaving = (asyncio.get_running_loop().time() + seconds, reason)
        for tunnel in self.tunnels:
            tunnel.go_away(seconds, reason)

    async def drain(self, seconds: float, reason: str = "the process stops") -> None:
        """Every session is over: each once its streams have ended, all after `seconds`.

        Call `go_away` first and this later where requests still open streams.
        """
        self.go_away(seconds, reason)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_close_when_idle(tunnel, reason) for tunnel in self.tunnels))
        except TimeoutError:
            for tunnel in self.tunnels:
                get_logger().info(
                    "tunnel_cut", tunnel_id=tunnel.session[:8], error=f"{tunnel.stream_count} open"
                )
        await self.aclose(reason)

    async def aclose(self, reason: str = "the process stops") -> None:
        """Every peer is told to look elsewhere, and every session is over. Idempotent."""
        self._leaving = (asyncio.get_running_loop().time(), reason)
        websockets = [greeting.websocket for greeting in self._greetings if greeting.websocket]
        for greeting in list(self._greetings):
            greeting.give_up(CloseCode.GOING_AWAY, reason)
        closing = [tunnel.aclose_with(CloseCode.GOING_AWAY, reason) for tunnel in self.tunnels]
        await asyncio.gather(*closing, *(websocket.wait_closed() for websocket in websockets))

    # For _Greeting

    def greeted(self, websocket: WebsocketConnection, identity: Identity, hello: Hello) -> None:
        """HELLO has come: the connection finds its session.

        Raises:
            Overloaded: it would begin one, and none is to begin now.
            RemoteProtocolError: the hello does not fit the credential, or asks for what is not.
        """
        if hello.role != identity.role:
            raise violation(f"the credential is a {identity.role}'s, the hello a {hello.role}'s")
        if hello.link >= self._options.tunnel.links:
            raise violation(f"{self._options.tunnel.links} links a session are spoken here")
        slot = (identity, hello.instance)
        tunnel = self._sessions.get(slot)
        resumed = tunnel is not None and hello.resume and tunnel.session == hello.session
        if not resumed and not hello.link and self.admit_session is not None:
            self.admit_session()
        if hello.replaces and hello.replaces != hello.instance:
            self._end(
                self._sessions.get((identity, hello.replaces)),
                CloseCode.REPLACED,
                "a new process took over",
            )
        if not resumed and hello.link:
            websocket.close(CloseCode.NO_SESSION, "no such session")
            return
        if not resumed and self._leaving is not None:
            websocket.close(CloseCode.GOING_AWAY, self._leaving[1])
            return
        if not resumed:
            self._end(tunnel, CloseCode.REPLACED, "a newer session of this instance took over")
            tunnel = self._begin(slot, hello)
        assert tunnel is not None
        websocket.send(encode_welcome(self._welcome(hello, resumed)))
        again = self.counters.resumed
        tunnel.attach(hello.link, websocket, resumed=resumed)
        joined = "joined" if self.counters.resumed == again else "resumed"
        self._watch.start()
        get_logger().info(
            "tunnel_opened",
            tunnel_id=hello.session[:8],
            link=hello.link,
            identity=f"{identity.role}:{identity.owner}",
            status=joined if resumed else "new",
        )

    def _woke(self) -> None:
        get_logger().info("sleep_noticed")
        for tunnel in self.tunnels:
            tunnel.probe()

    def greeting_over(self, greeting: _Greeting) -> None:
        self._greetings.discard(greeting)

    def _begin(self, slot: tuple[Identity, str], hello: Hello) -> Tunnel:
        identity, instance = slot
        tunnel = Tunnel(
            TunnelKey(identity, instance, hello.session),
            self._handler,
            self._options.tunnel,
            dialler=False,
        )

        def forget_when_closed() -> None:
            if tunnel.closed and self._sessions.get(slot) is tunnel:
                del self._sessions[slot]
                if not self._sessions:
                    self._watch.stop()

        def tell_draining(_seconds: float) -> None:
            if self.on_draining is not None:
                self.on_draining(tunnel)

        self.counters.sessions += 1
        tunnel.counters = self.counters
        tunnel.on_go_away = tell_draining
        tunnel.on_down = forget_when_closed
        self._sessions[slot] = tunnel
        return tunnel

    def _end(self, tunnel: Tunnel | None, code: CloseCode, reason: str) -> None:
        if tunnel is not None:
            tunnel.end(TunnelClosed(reason), code, reason)

    def _welcome(self, hello: Hello, resumed: bool) -> Welcome:
        options = self._options.tunnel
        return Welcome(
            instance=self._options.instance,
            session=hello.session,
            resumed=resumed,
            session_window=options.mux.session_window,
            stream_window=options.mux.stream_window,
            ping_interval_ms=int(options.mux.liveness.ping_interval * 1000),
            grace_ms=int(options.grace * 1000),
            links=options.links,
        )


async def _close_when_idle(tunnel: Tunnel, reason: str) -> None:
    await tunnel.wait_idle()
    await tunnel.aclose(reason)


class _Greeting:
    """The websocket's listener until HELLO."""

    def __init__(
        self, server: TunnelServer, exchange: Upgrade, identity: Identity, timeout: float
    ) -> None:
        self.websocket: WebsocketConnection | None = None
        self._server = server
        self._exchange = exchange
        self._identity = identity
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            timeout, self.give_up, CloseCode.HANDSHAKE_TIMEOUT, "no HELLO in time"
        )

    def give_up(self, code: CloseCode, reason: str) -> None:
        if self.websocket is not None:
            self.websocket.close(code, reason)

    def websocket_opened(self, websocket: WebsocketConnection) -> None: ...

    def message_received(self, websocket: WebsocketConnection, message: Message) -> None:
        self._done()
        try:
            self._server.greeted(websocket, self._identity, decode_hello(message))
        except RemoteProtocolError as exc:
            get_logger().warning(
                "tunnel_hello_refused",
                identity=f"{self._identity.role}:{self._identity.owner}",
                error=exc.detail,
            )
            websocket.close(exc.answer_status, exc.detail)
        except Overloaded as exc:
            websocket.close(CloseCode.TRY_AGAIN, exc.detail)

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        self._done()

    def closed(self, lost: Lost) -> None:
        """The connection is over, whoever listens to it by then."""
        self._exchange.finish_detached("" if lost.code == CloseCode.NORMAL else str(lost))

    def bytes_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def _done(self) -> None:
        self._timer.cancel()
        self._server.greeting_over(self)
