"""One session with a peer, the same at both ends: streams, calls, and the connections of the hour.

A `Tunnel` outlives its connections, of which it has up to four, its links. Whoever makes them
(`uplink` dials, `server` accepts) attaches each one; here the session's wire machine is fed, its
messages are sent once per loop tick, and its events become streams and calls. Deciding what a
stream may reach is the handler's.
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
from lapdev.net.websocket import Lost, WebsocketConnection
from lapdev.tunnel.calls import TunnelCalls
from lapdev.tunnel.counters import TunnelCounters
from lapdev.tunnel.flush import Flush
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.link import SESSION_OVER, Link
from lapdev.tunnel.memory import process_budget
from lapdev.tunnel.options import TunnelOptions
from lapdev.tunnel.stream import Stream
from lapdev.wire.control import Message, Target, decode_target, encode_target
from lapdev.wire.mux import CloseCode, GoAwayScope, MuxConnection, MuxStream
from lapdev.wire.mux.events import (
    CallReceived,
    ConnectionDead,
    DatagramReceived,
    DataReceived,
    EofReceived,
    Event,
    GoAwayReceived,
    LinkSuperseded,
    ReplyReceived,
    Resumed,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
)
from lapdev.wire.websocket import Message as WebsocketMessage


class Tunnel:
    """A session. Made by `Uplink` and `TunnelServer` only."""

    def __init__(
        self, key: TunnelKey, handler: TunnelHandler, options: TunnelOptions, *, dialler: bool
    ) -> None:
        self.key = key
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.resumed = False
        """The connection that came last carries on an earlier one's streams."""
        self.draining = False
        """This process or the peer's is about to stop: open nothing new that can go elsewhere."""
        self.closed = False
        self.close_code = 0
        """The websocket close code the session ended with, if one did."""
        self.on_down: Callable[[], None] = lambda: None
        """For the owner: the last connection is gone, or the session is over."""
        self.on_link_down: Callable[[int], None] = lambda _link: None
        """For the dialling owner: this link wants another connection."""
        self.on_go_away: Callable[[float], None] = lambda _seconds: None
        """For the dialling owner: the peer's process stops within so many seconds."""
        self.counters = TunnelCounters()
        """The owner's: those of all its sessions."""
        self._handler = handler
        self.mux = MuxConnection(dialler=dialler, options=options.mux, budget=process_budget())
        self._links: dict[int, Link] = {}
        """Those that have a connection."""
        self._away: set[int] = set()
        """Those that had one, and wait for the next."""
        self.flush = Flush(self.mux, self._links, self._dispatch, self._guard)
        self._grace_timer: asyncio.TimerHandle | None = None
        self._last_heard = self.loop.time()
        self._calls = TunnelCalls(self.mux, self._answer, self.flush.soon)
        self._leaving: tuple[float, str] | None = None
        """When this process stops, and why: the peer is told on each new connection."""

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
        return bool(self._links)

    @property
    def links(self) -> tuple[int, ...]:
        """Those that have a connection."""
        return self.mux.links

    @property
    def stream_count(self) -> int:
        return len(self.mux.streams)

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
            mux_stream = self.mux.open(encode_target(target))
        except LocalProtocolError as exc:
            raise TunnelError(exc.detail) from exc
        stream = Stream(self, mux_stream, target, protocol)
        mux_stream.owner = stream
        self.flush.soon()
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
        """No stream is open, or under way from before the peer heard `go_away`; or all is over."""
        for _ in range(2):  # the peer has heard it on one link; what it had sent on others is here
            self.mux.ping(self.loop.time())
            self.flush.soon()
            await self.flush.until(lambda: self.closed or self.mux.echoed)
        await self.flush.until(lambda: self.closed or not self.mux.streams)

    async def aclose(self, reason: str = "") -> None:
        """The session is over at both ends. Idempotent; takes at most `close_timeout`."""
        await self.aclose_with(CloseCode.NORMAL, reason)

    # For the owner (uplink, server)

    def attach(self, number: int, websocket: WebsocketConnection, *, resumed: bool) -> None:
        """The link has a connection, whose handshake is complete; an older one is closed."""
        was_up = self.connected
        older = self._links.pop(number, None)
        if older is not None:
            older.let_go()
            older.websocket.close(CloseCode.SUPERSEDED, "a newer connection carries the link")
            self.counters.lost += 1
        self.counters.resumed += older is not None or number in self._away
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None
        self._away.discard(number)
        self._links[number] = link = Link(self, self.mux, number, websocket)
        self.resumed = resumed
        link.attach(resumed=resumed)
        self._say_leaving()
        self.flush.soon()
        if not was_up:
            self._guard(self._handler.tunnel_up, self)

    def renew(self, number: int) -> None:
        """The dialler is asked for the link's next connection, which takes the older's place."""
        self.mux.go_away(GoAwayScope.LINK, 0, "", number)
        self.flush.soon()

    def probe(self) -> None:
        """The process was asleep: whether the peer is still there is asked at once."""
        if self._links:
            self.mux.probe(self.loop.time())
            self.flush.now()

    def end(self, error: Exception, code: int = 0, reason: str = "") -> None:
        """The session is over: streams and calls fail with `error`. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.close_code = code
        links = dict(self._links)
        self._links.clear()
        self.flush.rest()
        if self._grace_timer is not None:
            self._grace_timer.cancel()
            self._grace_timer = None
        for link in links.values():
            link.let_go()
            link.websocket.close(code or CloseCode.NORMAL, reason or str(error))
        streams = list(self.mux.streams.values())
        self.mux.close()
        for mux_stream in streams:
            if isinstance(mux_stream.owner, Stream):
                self._guard(mux_stream.owner.lose, error)
        self._calls.end(error)
        self.flush.changed()
        self._guard(self._handler.tunnel_closed, self, error)
        self.on_down()
        for number in links:
            self.on_link_down(number)

    async def aclose_with(self, code: int, reason: str) -> None:
        """Like `aclose`, telling the peer another code: 1001 when this process stops."""
        websockets = [link.websocket for link in self._links.values()]
        if code == CloseCode.GOING_AWAY:
            self.mux.go_away(GoAwayScope.PROCESS, 0, reason)
        self.flush.now()
        self.end(TunnelClosed(reason), code, reason)
        await self._calls.wait_ended()
        for websocket in websockets:
            await websocket.wait_closed()

    # For its streams

    def accept_stream(self, mux_stream: MuxStream) -> None:
        self.mux.accept(mux_stream)
        self.flush.soon()

    def send_datagram(self, mux_stream: MuxStream, data: bytes) -> None:
        """Raises ValueError: it is larger than a datagram may be."""
        try:
            self.mux.send_datagram(mux_stream, data)
        except LocalProtocolError as exc:
            raise ValueError(exc.detail) from exc
        self.flush.soon()

    def finish_stream(self, mux_stream: MuxStream) -> None:
        self.mux.finish(mux_stream)
        self.flush.soon()

    def close_stream(self, mux_stream: MuxStream) -> None:
        self.mux.discard(mux_stream)
        self.mux.finish(mux_stream)
        self.flush.soon()

    def reset_stream(self, mux_stream: MuxStream, cause: str, detail: str) -> None:
        self.mux.reset(mux_stream, cause, detail)
        self.flush.soon()

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

    # For its links

    def flush_soon(self) -> None:
        """There is room, or something to say."""
        self.flush.soon()

    def message_received(self, link: Link, message: WebsocketMessage) -> None:
        try:
            events = self.mux.receive_data(link.number, message)
        except RemoteProtocolError as exc:
            self._log("tunnel_violated", exc, link.number)
            error = TunnelClosed(f"the peer broke the protocol: {exc.detail}")
            self.end(error, exc.answer_status, exc.detail)
            return
        for event in events:
            if self.closed:
                break
            # Most events by far are data: they go without the detours of the others.
            if type(event) is DataReceived and type(event.stream.owner) is Stream:
                event.stream.owner.data_arrived(event.data)
            else:
                self._guard(self._dispatch, event)
        self.flush.soon()

    def connection_lost(self, link: Link, lost: Lost) -> None:
        if lost.code in SESSION_OVER:
            self._log("tunnel_ended", lost, link.number)
            self.end(TunnelClosed(str(lost)), lost.code)
        else:
            self._connection_gone(link, TunnelError(str(lost)))

    # Inside

    def _connection_gone(self, link: Link, error: Exception) -> None:
        number = link.number
        self._log("tunnel_lost", error, number)
        self._drop(link)
        self.mux.detach(number)
        if self._links:
            self._move_lost_links()
        else:
            self._all_gone(error)
        self.on_link_down(number)
        self.flush.soon()

    def _drop(self, link: Link) -> None:
        link.let_go()
        del self._links[link.number]
        self.counters.lost += 1
        self._away.add(link.number)
        self._last_heard = max(self._last_heard, link.last_heard)

    def _move_lost_links(self) -> None:
        """Their streams do not wait for a new connection: they go on over one that is there."""
        if self.mux.dialler:
            to = max(self._links.values(), key=lambda link: link.last_heard).number
            for number in self._away:
                self.mux.move(number, to)

    def _all_gone(self, error: Exception) -> None:
        self.flush.rest()
        left = max(self._last_heard + self.options.grace - self.loop.time(), 0.0)
        self._grace_timer = self.loop.call_later(left, self._grace_over)
        self._guard(self._handler.tunnel_down, self, error)
        self.on_down()

    def _grace_over(self) -> None:
        grace = self.options.grace
        self.end(TunnelClosed(f"the tunnel was away for longer than {grace:g} s"))

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
            case DatagramReceived(MuxStream(owner=Stream() as owner), data):
                owner.datagram_arrived(data)
            case CallReceived():
                self._calls.call_received(event)
            case ReplyReceived():
                self._calls.reply_received(event)
            case GoAwayReceived(GoAwayScope.PROCESS, drain_seconds, _):
                self._peer_leaves(drain_seconds)
            case GoAwayReceived(GoAwayScope.LINK, _, _, link):
                self.on_link_down(link)
            case ConnectionDead(link):
                self._dead(link)
            case LinkSuperseded(link):
                self._superseded(link)
            case Resumed(link, links):
                self._resumed(link, links)
            case _:
                pass  # of a stream that was turned away within the same message

    def _stream_opened(self, mux_stream: MuxStream, raw_target: dict[str, Any]) -> None:
        try:
            target = decode_target(raw_target)
        except RemoteProtocolError as exc:
            self.mux.reset(mux_stream, "bad_target", exc.detail)
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
            self.mux.go_away(GoAwayScope.PROCESS, left, reason)
            self.flush.soon()

    def _peer_leaves(self, seconds: int) -> None:
        self.draining = True
        self.on_go_away(float(seconds))

    def _dead(self, number: int) -> None:
        link = self._links.get(number)
        if link is not None:
            self._connection_gone(link, TunnelError("the peer is silent"))
            link.websocket.abort()

    def _superseded(self, number: int) -> None:
        """The peer had lost the link before we knew; its streams are elsewhere by now."""
        link = self._links.get(number)
        if link is not None:
            self._log("tunnel_lost", "the peer has moved its streams", number)
            self._drop(link)
            link.websocket.close(CloseCode.SUPERSEDED, "its streams have moved")

    def _resumed(self, number: int, links: tuple[int, ...]) -> None:
        for moved in links:
            if moved != number:
                self._log("tunnel_moved", f"its streams go on over link {number}", moved)

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        """A failing callback must not take the tunnel with it."""
        try:
            callback(*arguments)
        except Exception as exc:
            get_logger().error(
                "tunnel_callback_failed", tunnel_id=self.session[:8], error=repr(exc), exc_info=exc
            )

    def _log(self, event: str, error: object, link: int) -> None:
        get_logger().info(
            event,
            tunnel_id=self.session[:8],
            link=link,
            identity=f"{self.identity.role}:{self.identity.owner}",
            error=str(error),
        )
