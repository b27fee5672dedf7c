"""Keeps a session connected, and lets it end in peace when the peer's process goes away."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from functools import partial

from lapdev.errors import LapdevError, RemoteProtocolError, TunnelClosed, TunnelRefused
from lapdev.log import get_logger
from lapdev.model import Identity
from lapdev.net.tasks import Tasks
from lapdev.net.websocket import WebsocketConnection
from lapdev.tunnel.back_off import BackOff
from lapdev.tunnel.counters import TunnelCounters
from lapdev.tunnel.dial import UplinkOptions, connect, new_id
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.tunnel import Tunnel
from lapdev.wire.mux import CloseCode, Hello, Welcome

MOST_DRAIN = 600.0
"""Seconds that a peer may take to stop, whatever it says."""


class Dialler:
    """One session after another, until a peer says that its process stops.

    Then `leaving` is set, the session gets no new connection, and `run` returns when it is over.
    Only link 0 begins a session; the others join it once it is up.
    """

    def __init__(
        self, options: UplinkOptions, handler: TunnelHandler, on_change: Callable[[], None]
    ) -> None:
        """`on_change` runs when the session is up, down or over."""
        self.tunnel: Tunnel | None = None
        """The session of the hour, also while its connection is away; None when there is none."""
        self.last_error: Exception | None = None
        """Why the last try failed; None while connected. TunnelRefused: the credential."""
        self.on_failed: Callable[[Exception], None] | None = None
        self.counters = TunnelCounters()
        """The owner's."""
        self.leaving = asyncio.Event()
        self._options = options
        self._handler = handler
        self._on_change = on_change
        self._session = new_id()
        self._drain_seconds = 0.0
        self._over = asyncio.Event()
        self._up = asyncio.Event()
        self._awake = asyncio.Event()
        self._links = 1
        self._lost: dict[int, asyncio.Event] = {}
        """By link: its connection is gone, or is to be followed by another."""
        self._replaced = False

    async def run(self) -> None:
        """Cancelled, it ends the session at both ends."""
        try:
            async with Tasks() as tasks:
                for link in range(self._options.links):
                    self._lost[link] = asyncio.Event()
                    tasks.spawn(self._keep(link), f"tunnel link {link}")
                await self.leaving.wait()
            await self._wait_over()
        finally:
            tunnel, self.tunnel = self.tunnel, None
            if tunnel is not None:
                await tunnel.aclose("the dialling end stops")

    def woke(self) -> None:
        """The machine was asleep: is the peer there, and if not, is it to be reached?"""
        if self.tunnel is not None:
            self.tunnel.probe()
        self._awake.set()
        self._awake.clear()

    async def _wait_over(self) -> None:
        """Who said that it goes closes the session when nothing is open; this is the backstop."""
        options = self._options.tunnel
        try:
            async with asyncio.timeout(self._drain_seconds + options.close_timeout):
                while self.tunnel is not None:
                    self._over.clear()
                    await self._over.wait()
        except TimeoutError:
            get_logger().info("tunnel_cut", tunnel_id=self._session[:8], error="drain time over")

    async def _keep(self, link: int) -> None:
        """The link has a connection whenever one is to be had."""
        loop = asyncio.get_running_loop()
        back_off = BackOff(self._options.tunnel, loop.time())
        took = 0.0
        while True:
            if link:
                await self._wait_joinable(link)
            # A try that nobody answered has been a pause, too.
            delay = back_off.delay(loop.time()) - took
            await self._pause(max(delay, self._least_delay()))
            self._lost[link].clear()
            patience, began = back_off.connect_timeout(), loop.time()
            took = 0.0
            try:
                welcomed = partial(self._welcomed, link)
                await connect(self._options, self._hello(link), welcomed, patience)
            except (OSError, TimeoutError, LapdevError) as exc:
                took = loop.time() - began
                self._report(exc)
                continue
            up_since = loop.time()
            await self._lost[link].wait()
            back_off.connection_lost(up_since, loop.time())

    async def _wait_joinable(self, link: int) -> None:
        while self.tunnel is None or not self.tunnel.connected or link >= self._links:
            self._up.clear()
            await self._up.wait()

    async def _pause(self, seconds: float) -> None:
        """Until it is time for the next try; a machine that was asleep tries at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    def _least_delay(self) -> float:
        options, error = self._options.tunnel, self.last_error
        if isinstance(error, TunnelRefused) and error.answer_status in (401, 403):
            return options.refused_delay
        if isinstance(error, TunnelRefused) and error.retry_after:
            # As long as it asks for, and not all in the same moment.
            return error.retry_after * secrets.SystemRandom().uniform(1.0, 2.0)
        return options.replaced_delay if self._replaced else 0.0

    def _report(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            error = TunnelRefused("no answer in time")
        # One line for a lasting failure, not one per try.
        if str(error) != str(self.last_error):
            get_logger().warning(
                "tunnel_dial_failed",
                address=self._options.address,
                error=str(error) or type(error).__name__,
                **({"hint": error.hint} if isinstance(error, LapdevError) and error.hint else {}),
            )
        self.last_error = error
        if self.on_failed is not None:
            self.on_failed(error)

    def _hello(self, link: int) -> Hello:
        options = self._options
        return Hello(
            role=options.role,
            instance=options.instance,
            session=self._session,
            resume=self.tunnel is not None,
            link=link,
            replaces=options.replaces,
        )

    def _welcomed(self, link: int, websocket: WebsocketConnection, welcome: Welcome) -> None:
        """The acceptor has taken the connection for the session, or begun it anew.

        Raises:
            TunnelClosed: our grace time ended while the acceptor said that it goes on.
            TunnelRefused: the acceptor that took this link is not the one that has the session.
        """
        if welcome.resumed and (self.tunnel is None or welcome.session != self._session):
            raise TunnelClosed("the session ended while it was being resumed")
        if welcome.resumed and self.tunnel and welcome.instance != self.tunnel.instance:
            # It has begun the session anew for link 0, whose WELCOME is still on its way.
            raise TunnelRefused("another process has taken the link")
        if link and not welcome.resumed:
            raise RemoteProtocolError("WELCOME begins a session that link 0 has not asked for")
        if self.tunnel is not None and not welcome.resumed:
            self.tunnel.end(TunnelClosed("the other end does not know the session any more"))
        # What was lost until now is an older connection, which this one follows.
        self._lost[link].clear()
        self._session = welcome.session
        self._links = welcome.links
        self._replaced = False
        self.last_error = None
        tunnel = self.tunnel or self._begin(welcome)
        tunnel.attach(link, websocket, resumed=welcome.resumed)
        self._up.set()
        self._on_change()

    def _begin(self, welcome: Welcome) -> Tunnel:
        identity = Identity(self._options.peer_role, self._options.address)
        key = TunnelKey(identity, welcome.instance, welcome.session)
        tunnel = Tunnel(key, self._handler, self._options.tunnel.agreed(welcome), dialler=True)
        self.counters.sessions += 1
        tunnel.counters = self.counters
        tunnel.on_down = self._tunnel_down
        tunnel.on_link_down = self._link_down
        tunnel.on_go_away = self._go_away
        self.tunnel = tunnel
        return tunnel

    def _go_away(self, seconds: float) -> None:
        self._drain_seconds = min(seconds, MOST_DRAIN)
        self.leaving.set()

    def _link_down(self, link: int) -> None:
        self._lost[link].set()

    def _tunnel_down(self) -> None:
        tunnel = self.tunnel
        if tunnel is not None and self.leaving.is_set() and not tunnel.closed:
            # The process that knows it takes no connections any more. This comes back here.
            tunnel.end(TunnelClosed("the connection was lost while the other end was stopping"))
            return
        if tunnel is not None and tunnel.closed:
            self.tunnel = None
            self._session = new_id()
            self._replaced = tunnel.close_code == CloseCode.REPLACED
            self._over.set()
        self._on_change()
