"""One session with a peer, the same at both ends: streams, calls, and the connection of the hour.

A `Tunnel` outlives its connections. Whoever makes them (`uplink` dials, `server` accepts) attaches
each one; here the session's wire machine is fed, its messages are sent once per loop tick, and its
events become streams and calls. Deciding what a stream may reach is the handler's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from lapdev.errors import (
    LapdevError,
    LocalProtocolError,
    RemoteProtocolError,
    TunnelClosed,
    TunnelError,
)
from lapdev.log import get_logger
from lapdev.model import Identity
from lapdev.net.websocket import Lost, Unheard, WebsocketConnection
from lapdev.tunnel.calls import TunnelCalls
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.options import TunnelOptions
from lapdev.tunnel.stream import Stream
from lapdev.wire.control import Message, Target, decode_target, encode_target
from lapdev.wire.mux import CloseCode, GoAwayScope, MuxConnection, MuxStream
from lapdev.wire.mux.events import (
    CallReceived,
    ConnectionDead,
    DataReceived,
    EofReceived,
    Event,
    GoAwayReceived,
    ReplyReceived,
    Resumed,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
)
from lapdev.wire.mux.frames import JOIN_BYTES

_SESSION_OVER = frozenset(
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


class Tunnel:
    """A session. Made by `Uplink` and `TunnelServer` only."""

    def __init__(
        self, key: TunnelKey, handler: TunnelHandler, options: TunnelOptions, *, dialler: bool
    ) -> None:
        self.key = key
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.resumed = False
        """The connection of the hour carries on an earlier one's streams."""
        self.draining = False
        """This process or the peer's is about to stop: open nothing new that can go elsewhere."""
        self.closed = False
        self.close_code = 0
        """The websocket close code the session ended with, if one did."""
        self.on_down: Callable[[], None] | None = None
        """For the owner: the connection is gone, or the session is over."""
        self.on_go_away: Callable[[float], None] | None = None
        """For the dialling owner: the peer's process stops within so many seconds."""
        self._handler = handler
        self._mux = MuxConnection(dialler=dialler, options=options.mux)
        self._websocket: WebsocketConnection | None = None
        self._congested = False
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._grace_timer: asyncio.TimerHandle | None = None
        self._last_heard = self.loop.time()
        self._calls = TunnelCalls(self._mux, self._answer, self.flush_soon)
        self._leaving: tuple[float, str] | None = None
        """When this process stops, and why: the peer is told on each new connection."""
        self._idle: asyncio.Event | None = None

    @property
    def identity(self) -> Identity:
        return self.key.identity

    @property
    def instance(self) -> str:
        return self.key.instance

    @property
    def session(self) -> str:
        return self.key.session

    @property
    def connected(self) -> bool:
        return self._websocket is not None

    @property
    def stream_count(self) -> int:
        return len(self._mux.streams)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "up" if self.connected else "down"
        return f"<Tunnel {self.session[:8]} {self.identity.role}:{self.identity.owner} {state}>"

    def open_stream(self, target: Target, protocol: asyncio.Protocol) -> Stream:
        """A stream that may be written to at once; `protocol` has had `connection_made`.

        Raises:
            TunnelClosed: the session is over.
            TunnelError: it carries as many streams as it may.
        """
        if self.closed:
            raise TunnelClosed()
        try:
            mux_stream = self._mux.open(encode_target(target))
        except LocalProtocolError as exc:
            raise TunnelError(exc.detail) from exc
        stream = Stream(self, mux_stream, target, protocol)
        mux_stream.owner = stream
        self.flush_soon()
        protocol.connection_made(stream)
        return stream

    async def call(self, message: Message) -> Message:
        """The peer's answer. Across a lost connection the call waits, and is sent again.

        Cancelling loses the answer; the peer may or may not have acted.

        Raises:
            CallFailed: the peer could not, and says why.
            TunnelClosed: the session ended before the answer came.
        """
        return await self._calls.call(message)

    def go_away(self, seconds: float, reason: str) -> None:
        """The peer is told that this process stops within `seconds`, and to look elsewhere.

        Streams go on. Whoever says it closes the session when they have ended; see `wait_idle`.
        """
        self.draining = True
        self._leaving = (self.loop.time() + seconds, reason)
        self._say_leaving()

    async def wait_idle(self) -> None:
        """No stream is open, or the session is over."""
        if self.closed or not self._mux.streams:
            return
        if self._idle is None:
            self._idle = asyncio.Event()
        await self._idle.wait()

    async def aclose(self, reason: str = "") -> None:
        """The session is over at both ends. Idempotent; takes at most `close_timeout`."""
        await self.aclose_with(CloseCode.NORMAL, reason)

    # For the owner (uplink, server)

    def attach(self, websocket: WebsocketConnection, *, resumed: bool) -> None:
        """The session goes on over `websocket`, whose handshake is complete."""
        if self._websocket is not None:
            old = self._websocket
            self._connection_gone(TunnelError("a newer connection carries the session"))
            old.close(CloseCode.SUPERSEDED, "a newer connection carries the session")
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None
        self._websocket = websocket
        websocket.listener = self
        self._congested = False
        self.resumed = resumed
        self._last_heard = self.loop.time()
        self._mux.attach(0, self._last_heard, resumed=resumed)
        self._say_leaving()
        self.flush_soon()
        self._guard(self._handler.tunnel_up, self)

    def end(self, error: Exception, code: int = 0, reason: str = "") -> None:
        """The session is over: streams and calls fail with `error`. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.close_code = code
        websocket, self._websocket = self._websocket, None
        for timer in (self._timer, self._grace_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._grace_timer = None
        if websocket is not None:
            websocket.listener = Unheard()
            websocket.close(code or CloseCode.NORMAL, reason or str(error))
        self._mux.detach(0)
        streams = list(self._mux.streams.values())
        for mux_stream in streams:
            self._mux.forget(mux_stream)
            if isinstance(mux_stream.owner, Stream):
                self._guard(mux_stream.owner.lose, error)
        self._calls.end(error)
        if self._idle is not None:
            self._idle.set()
        self._guard(self._handler.tunnel_closed, self, error)
        if self.on_down is not None:
            self.on_down()

    async def aclose_with(self, code: int, reason: str) -> None:
        """Like `aclose`, telling the peer another code: 1001 when this process stops."""
        websocket = self._websocket
        if websocket is not None and code == CloseCode.GOING_AWAY:
            self._mux.go_away(GoAwayScope.PROCESS, 0, reason)
        self._flush()
        self.end(TunnelClosed(reason), code, reason)
        await self._calls.wait_ended()
        if websocket is not None:
            await websocket.wait_closed()

    # For its streams

    def accept_stream(self, mux_stream: MuxStream) -> None:
        self._mux.accept(mux_stream)
        self.flush_soon()

    def write_stream(self, mux_stream: MuxStream, data: bytes) -> None:
        if not mux_stream.reset_cause:
            self._mux.write(mux_stream, data)
            self.flush_soon()

    def finish_stream(self, mux_stream: MuxStream) -> None:
        self._mux.finish(mux_stream)
        self.flush_soon()

    def close_stream(self, mux_stream: MuxStream) -> None:
        self._mux.discard(mux_stream)
        self._mux.finish(mux_stream)
        self.flush_soon()

    def reset_stream(self, mux_stream: MuxStream, cause: str, detail: str) -> None:
        self._mux.reset(mux_stream, cause, detail)
        self.flush_soon()

    def consume_stream(self, mux_stream: MuxStream, size: int) -> None:
        self._mux.consumed(mux_stream, size)
        self.flush_soon()

    def stream_failed(self, stream: Stream, error: Exception) -> None:
        """A protocol raised in a callback: only its stream dies."""
        get_logger().error(
            "stream_failed",
            stream_id=stream.stream_id,
            tunnel_id=self.session[:8],
            error=f"{type(error).__name__}: {error}",
            exc_info=error,
        )
        stream.reset(LapdevError("the stream's handler failed"))

    def flush_soon(self) -> None:
        """What is to go leaves at the end of this loop tick, in one message."""
        if not self._flush_due and self._websocket is not None:
            self._flush_due = True
            self.loop.call_soon(self._flush)

    # WebsocketListener

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        """Its handshake was over before it was attached."""

    def bytes_received(self) -> None:
        self._last_heard = now = self.loop.time()
        self._mux.heard(0, now)

    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None:
        try:
            events = self._mux.receive_data(0, message)
        except RemoteProtocolError as exc:
            self._log("tunnel_violated", exc)
            error = TunnelClosed(f"the peer broke the protocol: {exc.detail}")
            self.end(error, exc.answer_status, exc.detail)
            return
        for event in events:
            if self.closed:
                break
            self._guard(self._dispatch, event)
        self.flush_soon()

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self.flush_soon()

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        if lost.code in _SESSION_OVER:
            self._log("tunnel_ended", lost)
            self.end(TunnelClosed(str(lost)), lost.code)
        else:
            self._log("tunnel_lost", lost)
            self._connection_gone(TunnelError(str(lost)))

    # Inside

    def _connection_gone(self, error: Exception) -> None:
        if self._websocket is not None:
            # It may still have to say that it is congested, or alive: not to us.
            self._websocket.listener = Unheard()
            self._websocket = None
        self._mux.detach(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = max(self._last_heard + self.options.grace - self.loop.time(), 0.0)
        self._grace_timer = self.loop.call_later(left, self._grace_over)
        self._guard(self._handler.tunnel_down, self, error)
        if self.on_down is not None:
            self.on_down()

    def _grace_over(self) -> None:
        grace = self.options.grace
        self.end(TunnelClosed(f"the tunnel was away for longer than {grace:g} s"))

    def _flush(self) -> None:
        self._flush_due = False
        websocket = self._websocket
        if websocket is None:
            return
        while True:
            messages = self._mux.data_to_send(0, 0 if self._congested else JOIN_BYTES)
            for message in messages:
                websocket.send(message)
            for mux_stream in self._mux.take_writable():
                if isinstance(mux_stream.owner, Stream):
                    self._guard(mux_stream.owner.room_arrived)
            if not messages or self._congested:
                break
        if self._idle is not None and not self._mux.streams:
            self._idle.set()
            self._idle = None
        self._arm_timer()

    def _arm_timer(self) -> None:
        deadline = self._mux.next_deadline()
        if deadline is None:
            return
        # Deadlines mostly move away: a timer that fires too early arms itself again.
        if self._timer is not None and self._timer_at <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for event in self._mux.handle_timeout(self.loop.time()):
            self._dispatch(event)
        self._flush()

    def _dispatch(self, event: Event) -> None:
        match event:
            case StreamOpened(stream, target):
                self._stream_opened(stream, target)
            case DataReceived(MuxStream(owner=Stream() as owner), data):
                owner.data_arrived(data)
            case EofReceived(MuxStream(owner=Stream() as owner)):
                owner.eof_arrived()
            case StreamAccepted(MuxStream(owner=Stream() as owner)):
                owner.accept_arrived()
            case StreamEnded(MuxStream(owner=Stream() as owner), cause, detail, refused):
                owner.end_arrived(cause, detail, refused)
            case DataReceived() | EofReceived() | StreamAccepted() | StreamEnded():
                pass  # of a stream that was turned away within the same message
            case CallReceived():
                self._calls.call_received(event)
            case ReplyReceived():
                self._calls.reply_received(event)
            case GoAwayReceived(GoAwayScope.PROCESS, drain_seconds, _):
                self._peer_leaves(drain_seconds)
            case GoAwayReceived():
                pass
            case ConnectionDead():
                self._dead()
            case Resumed():
                pass

    def _stream_opened(self, mux_stream: MuxStream, raw_target: dict[str, Any]) -> None:
        try:
            target = decode_target(raw_target)
        except RemoteProtocolError as exc:
            self._mux.reset(mux_stream, "bad_target", exc.detail)
            return
        stream = Stream(self, mux_stream, target)
        mux_stream.owner = stream
        try:
            self._handler.stream_opened(self, stream, target)
        except Exception as exc:
            self.stream_failed(stream, exc)

    async def _answer(self, message: Message) -> Message:
        return await self._handler.call_received(self, message)

    def _say_leaving(self) -> None:
        if self._leaving is not None:
            deadline, reason = self._leaving
            left = max(math.ceil(deadline - self.loop.time()), 0)
            self._mux.go_away(GoAwayScope.PROCESS, left, reason)
            self.flush_soon()

    def _peer_leaves(self, seconds: int) -> None:
        self.draining = True
        if self.on_go_away is not None:
            self.on_go_away(float(seconds))

    def _dead(self) -> None:
        websocket = self._websocket
        if websocket is not None:
            self._log("tunnel_lost", "the peer is silent")
            self._connection_gone(TunnelError("the peer is silent"))
            websocket.abort()

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """A failing callback must not take the tunnel with it."""
        try:
            callback(*arguments)
        except Exception as exc:
            get_logger().error(
                "tunnel_callback_failed", tunnel_id=self.session[:8], error=repr(exc), exc_info=exc
            )

    def _log(self, event: str, error: object) -> None:
        get_logger().info(
            event,
            tunnel_id=self.session[:8],
            identity=f"{self.identity.role}:{self.identity.owner}",
            error=str(error),
        )
