"""One link of a session while it has a connection: the listener of its websocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lapdev.net.websocket import Lost, Message, Unheard, WebsocketConnection
from lapdev.wire.mux import CloseCode, MuxConnection

if TYPE_CHECKING:
    from lapdev.tunnel.tunnel import Tunnel

SESSION_OVER = frozenset(
    {
        CloseCode.NORMAL,
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_DATA,
        CloseCode.MESSAGE_TOO_BIG,
        CloseCode.REPLACED,
    }
)
"""After these nothing of the session can be trusted, or is wanted. Any other end is an accident."""


class Link:
    """Made with each connection, and gone with it."""

    __slots__ = ("_mux", "_tunnel", "last_heard", "number", "websocket")

    def __init__(
        self, tunnel: Tunnel, mux: MuxConnection, number: int, websocket: WebsocketConnection
    ) -> None:
        self.number = number
        self.websocket = websocket
        self.last_heard = tunnel.loop.time()
        self._tunnel = tunnel
        self._mux = mux
        websocket.listener = self

    def attach(self, *, resumed: bool) -> None:
        """It carries its part of the session from now on."""
        self._mux.attach(self.number, self.last_heard, resumed=resumed)
        # While the way is quiet: what is measured under load has queues in it.
        self._mux.measure(self.number)

    def let_go(self) -> None:
        """The connection may still have to say that it is congested, or alive: not to us."""
        self.websocket.listener = Unheard()

    # WebsocketListener

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        """Its handshake was over before it was attached."""

    def bytes_received(self) -> None:
        self.last_heard = now = self._tunnel.loop.time()
        self._mux.heard(self.number, now)

    def message_received(self, websocket: WebsocketConnection, message: Message) -> None:
        self._tunnel.message_received(self, message)

    def pause_writing(self) -> None:
        self._mux.pause(self.number)

    def resume_writing(self) -> None:
        self._mux.resume(self.number)
        self._tunnel.flush_soon()

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        self._tunnel.connection_lost(self, lost)
