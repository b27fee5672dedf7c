"""A session of the tunnel without its sockets: messages in, events out, messages to send.

`MuxConnection` outlives the connections that carry it. `attach` begins one, `detach` ends it; in
between nothing is lost: what the peer may have missed is known from the streams' offsets and sent
again after both ends have said in RESUME what they hold. HELLO and WELCOME have been exchanged
before (see `handshake`), because only they tell which session a connection belongs to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lapdev.errors import LocalProtocolError
from lapdev.wire.mux.calls import Calls
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
from lapdev.wire.mux.frames import (
    JOIN_BYTES,
    MAX_CAUSE_BYTES,
    MAX_DETAIL_BYTES,
    FrameType,
    decode,
    encode,
    encode_data_header,
    violation,
)
from lapdev.wire.mux.liveness import Liveness, LivenessOptions, Verdict
from lapdev.wire.mux.outbox import Outbox
from lapdev.wire.mux.resume import PeerResume, apply_resume, resume_frames
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream

MAX_PENDING_PONGS = 32
"""Pings in one message beyond this are a flood (CVE-2019-9512 is the same thing in HTTP/2)."""
MAX_GHOSTS = 4_096
"""Reset streams whose end the peer has not confirmed, over and above the open ones."""


@dataclass(frozen=True, slots=True)
class MuxOptions:
    """Windows in bytes, delays in seconds."""

    stream_window: int = 262_144
    session_window: int = 67_108_864
    max_streams: int = 16_384
    max_pending: int = 256
    """Streams the peer opened that nobody has accepted or refused yet."""
    credit_delay: float = 1.0
    """When consumption below an eighth of the window is told: it frees the peer's memory."""
    liveness: LivenessOptions = field(default_factory=LivenessOptions)


class MuxConnection:
    """One session. Not thread-safe; methods never block.

    Every send method only notes what is to go: call `data_to_send` at the end of the loop tick.
    """

    def __init__(self, *, dialler: bool, options: MuxOptions) -> None:
        self.options = options
        self.dialler = dialler
        self.streams: dict[int, MuxStream] = {}
        self.session = SessionCredit(options.session_window)
        self.attached = False
        self.next_stream_id = 1 if dialler else 2
        self.peer_opened = 0
        """The highest stream id the peer has opened."""
        self._calls = Calls()
        self._pending = 0
        self._ready: deque[MuxStream] = deque()
        self._control: list[bytes] = []
        self._credits: list[MuxStream] = []
        self._unreported: list[MuxStream] = []
        self._report_at = 0.0
        self._pongs = 0
        self._writable: list[MuxStream] = []
        self._resuming: PeerResume | None = None
        self._liveness = Liveness(options.liveness)
        self._now = 0.0

    # Connections

    def attach(self, now: float, *, resumed: bool) -> None:
        """A connection carries the session now. `resumed` is what WELCOME said."""
        self.detach()
        self.attached = True
        self.heard(now)
        if resumed:
            self._resuming = PeerResume()
            self._control.extend(resume_frames(self))
        self._control.extend(self._calls.unanswered())

    def detach(self) -> None:
        """The connection is gone; what was under way on it may or may not have arrived."""
        self.attached = False
        self._control.clear()
        self._resuming = None
        self._pongs = 0

    def heard(self, now: float) -> None:
        """A byte of the peer arrived at `now`. Call it before `receive_data`."""
        self._now = now
        self._liveness.heard(now)

    def next_deadline(self) -> float | None:
        """When `handle_timeout` wants to be called; None while detached."""
        if not self.attached:
            return None
        deadline = self._liveness.next_deadline()
        return min(deadline, self._report_at) if self._unreported else deadline

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed. May be called early; then nothing happens."""
        self._now = now
        if not self.attached:
            return []
        if self._unreported and now >= self._report_at:
            for stream in self._unreported:
                stream.report_pending = False
                self._mark_credit(stream)
            self._unreported.clear()
        match self._liveness.handle_timeout(now):
            case Verdict.PROBE:
                self._control.append(encode(FrameType.PING, int(now * 1000)))
            case Verdict.DEAD:
                return [ConnectionDead()]
            case Verdict.WAIT:
                pass
        return []

    # Streams

    def open(self, target: dict[str, Any]) -> MuxStream:
        """A new stream; data may be written to it at once."""
        if len(self.streams) >= self.options.max_streams:
            raise LocalProtocolError(f"{self.options.max_streams} streams are open")
        window = self.options.stream_window
        stream = MuxStream(self.next_stream_id, local=True, window=window, send_limit=window)
        stream.open_frame = encode(FrameType.OPEN, stream.stream_id, target, window)
        self.next_stream_id += 2
        self.streams[stream.stream_id] = stream
        self._send_stream_frame(stream.open_frame)
        return stream

    def accept(self, stream: MuxStream) -> None:
        if stream.accepted or stream.local or not self._alive(stream):
            return
        stream.accepted = True
        self._pending -= 1
        self.send_accept(stream)

    def write(self, stream: MuxStream, data: bytes) -> None:
        """`data` is sent as credit allows. Raises LocalProtocolError after `finish` or a reset."""
        stream.append(data)
        self.schedule(stream)

    def finish(self, stream: MuxStream) -> None:
        """This end writes nothing more; its FIN follows what is written."""
        if not stream.fin_queued and not stream.reset_cause:
            stream.fin_queued = True
            self.schedule(stream)

    def consumed(self, stream: MuxStream, size: int) -> None:
        """The owner took `size` received bytes: the peer may send as many more."""
        if not self._alive(stream) or stream.discarding:
            return
        stream.consumed += size
        self.session.consumed += size
        if stream.credit_due or stream.consumed == stream.final:
            self._mark_credit(stream)
        elif not stream.report_pending:
            stream.report_pending = True
            if not self._unreported:
                self._report_at = self._now + self.options.credit_delay
            self._unreported.append(stream)

    def discard(self, stream: MuxStream) -> None:
        """What still comes is dropped; once the peer has all we wrote, more brings it a reset."""
        if self._alive(stream) and not stream.discarding:
            stream.discarding = True
            self._drop_received(stream)
            if stream.consumed == stream.final:
                self._mark_credit(stream)

    def reset(self, stream: MuxStream, cause: str, detail: str = "") -> None:
        """Both directions end at once; the peer sees `cause` (a word) and `detail`. Idempotent."""
        if not self._alive(stream):
            return
        if not stream.local and not stream.accepted:
            self._pending -= 1
        stream.reset_cause = _cut(cause or "reset", MAX_CAUSE_BYTES)
        stream.reset_detail = _cut(detail, MAX_DETAIL_BYTES)
        stream.drop_unsent()
        self._drop_received(stream)
        self.send_reset(stream)

    # Calls

    def call(self, name: str, body: dict[str, Any]) -> int:
        """The call's id. It is repeated on each new connection until its reply comes."""
        call_id, frame = self._calls.start(name, body)
        if self.attached:
            self._control.append(frame)
        return call_id

    def forget_call(self, call_id: int) -> None:
        self._calls.forget(call_id)

    def reply(self, call_id: int, ok: bool, body: dict[str, Any]) -> None:
        """Raises LocalProtocolError if the body cannot be encoded."""
        frame = encode(FrameType.REPLY, call_id, ok, body)
        self._calls.served(call_id)
        if self.attached:
            self._control.append(frame)

    def go_away(self, scope: int, drain_seconds: int, reason: str) -> None:
        if self.attached:
            reason = _cut(reason, MAX_DETAIL_BYTES)
            self._control.append(encode(FrameType.GOAWAY, scope, drain_seconds, reason))

    # Sending

    def data_to_send(self, data_bytes: int = JOIN_BYTES) -> list[bytes]:
        """Messages to send now: all that is control, then up to `data_bytes` of stream data.

        Streams take turns in pieces of at most 64 KiB. Pass 0 while the connection is congested.
        """
        if not self.attached:
            return []
        outbox = Outbox()
        self._pongs = 0
        if self._resuming is None:
            self._queue_credits()
        for frame in self._control:
            outbox.add(frame)
        self._control.clear()
        if self._resuming is None and self._ready:
            self._send_data(outbox, data_bytes)
        return outbox.messages()

    def take_writable(self) -> list[MuxStream]:
        """Streams whose unsent bytes have fallen to `wake_below` since the last call."""
        writable, self._writable = self._writable, []
        return writable

    def _send_data(self, outbox: Outbox, budget: int) -> None:
        ready, session = self._ready, self.session
        # A stream without session credit keeps its place; the session's CREDIT comes by itself.
        blocked: list[MuxStream] = []
        while ready and budget > 0:
            stream = ready.popleft()
            if self.streams.get(stream.stream_id) is not stream or not stream.sendable:
                stream.queued = False
                continue
            offset = stream.sent
            data = stream.take(min(budget, session.send_limit - session.sent))
            if data:
                outbox.add(encode_data_header(stream.stream_id, offset, len(data)), data)
                session.sent += len(data)
                budget -= len(data)
            elif stream.unsent_bytes:
                blocked.append(stream)
                continue
            if stream.fin_queued and not stream.fin_sent and not stream.unsent_bytes:
                stream.fin_sent = True
                outbox.add(encode(FrameType.FIN, stream.stream_id, stream.end))
            if stream.unsent_bytes <= stream.wake_below:
                stream.wake_below = -1
                self._writable.append(stream)
            if stream.sendable:
                ready.append(stream)
            else:
                stream.queued = False
        ready.extend(blocked)

    def _queue_credits(self) -> None:
        if self.session.credit_due:
            self.session.grant()
            self._send_credit(0, self.session.consumed, self.session.receive_limit)
        marked, self._credits = self._credits, []
        for stream in marked:
            stream.credit_marked = False
            if self.streams.get(stream.stream_id) is not stream or stream.reset_cause:
                continue
            if stream.consumed_position == stream.credited:
                continue
            stream.grant()
            self._send_credit(stream.stream_id, stream.consumed_position, stream.receive_limit)
            if stream.finished:
                del self.streams[stream.stream_id]

    def _send_credit(self, stream_id: int, consumed: int, limit: int) -> None:
        self._control.append(encode(FrameType.CREDIT, stream_id, consumed, limit))

    # What follows is for this room: `resume` uses it, too.

    def schedule(self, stream: MuxStream) -> None:
        """The stream takes its turn if it has something that may leave."""
        if not stream.queued and stream.sendable:
            stream.queued = True
            self._ready.append(stream)

    def send_open(self, stream: MuxStream) -> None:
        self._send_stream_frame(stream.open_frame)

    def send_accept(self, stream: MuxStream) -> None:
        frame = encode(FrameType.ACCEPT, stream.stream_id, stream.receive_limit)
        self._send_stream_frame(frame)

    def send_reset(self, stream: MuxStream) -> None:
        fields = (stream.stream_id, stream.sent, stream.reset_cause, stream.reset_detail)
        self._send_stream_frame(encode(FrameType.RESET, *fields))

    def forget(self, stream: MuxStream) -> None:
        if self.streams.pop(stream.stream_id, None) is not None and not stream.reset_cause:
            if not stream.local and not stream.accepted:
                self._pending -= 1
            self._drop_received(stream)
            stream.drop_unsent()

    def _send_stream_frame(self, frame: bytes) -> None:
        # While a session is being resumed, streams are brought up to date from their state.
        if self.attached and self._resuming is None:
            self._control.append(frame)

    def _alive(self, stream: MuxStream) -> bool:
        return not stream.reset_cause and self.streams.get(stream.stream_id) is stream

    def _mark_credit(self, stream: MuxStream) -> None:
        if not stream.credit_marked:
            stream.credit_marked = True
            self._credits.append(stream)

    def _drop_received(self, stream: MuxStream) -> None:
        self.session.consumed += stream.received - stream.consumed
        stream.consumed = stream.received

    # Receiving

    def receive_data(self, message: bytes) -> list[Event]:
        """What the message says, in order.

        Raises:
            RemoteProtocolError: the session is over; `answer_status` is the close code to send.
        """
        events: list[Event] = []
        for frame in decode(message):
            kind = frame[0]
            if self._resuming is not None and kind in _STREAM_FRAMES:
                raise violation(f"{FrameType(kind).name} before RESUME")
            _HANDLERS[kind](self, frame, events)
        return events

    def _on_handshake(self, frame: list[Any], events: list[Event]) -> None:
        raise violation(f"{FrameType(frame[0]).name} after the handshake")

    def _on_open(self, frame: list[Any], events: list[Event]) -> None:
        stream_id, target, send_limit = frame[1], frame[2], frame[3]
        # Ids only grow: an id used twice could hand one stream's bytes to another.
        if stream_id % 2 == self.dialler or stream_id <= self.peer_opened:
            raise violation(f"OPEN of stream {stream_id}")
        self.peer_opened = stream_id
        options = self.options
        stream = MuxStream(
            stream_id, local=False, window=options.stream_window, send_limit=send_limit
        )
        if len(self.streams) >= options.max_streams + MAX_GHOSTS:
            raise violation("streams are opened that do not confirm their end")
        self.streams[stream_id] = stream
        self._pending += 1
        if len(self.streams) > options.max_streams:
            self.reset(stream, "too_many_streams", f"{options.max_streams} streams are open")
        elif self._pending > options.max_pending:
            self.reset(stream, "too_many_pending", f"{options.max_pending} streams wait already")
        else:
            events.append(StreamOpened(stream, target))

    def _on_accept(self, frame: list[Any], events: list[Event]) -> None:
        stream = self._known(frame[1])
        if stream is None:
            return
        if not stream.local or stream.accepted:
            raise violation(f"ACCEPT of stream {frame[1]}")
        stream.accepted = True
        stream.open_frame = b""
        if not stream.reset_cause:
            stream.send_limit = max(stream.send_limit, frame[2])
            self.schedule(stream)
            events.append(StreamAccepted(stream))

    def _on_data(self, frame: list[Any], events: list[Event]) -> None:
        _, stream_id, offset, data = frame[:4]
        self.session.receive(len(data))
        stream = self._known(stream_id)
        if stream is None:
            # Nobody's bytes: never another stream's. They count for the session all the same.
            self.session.consumed += len(data)
            self._refuse_unknown(stream_id)
            return
        stream.receive(offset, len(data))
        if stream.reset_cause or stream.discarding:
            self._drop_received(stream)
            if stream.discarding and stream.fin_acked:
                self.reset(stream, "closed", "the reader has gone")
        else:
            events.append(DataReceived(stream, data))

    def _on_fin(self, frame: list[Any], events: list[Event]) -> None:
        stream = self._known(frame[1])
        if stream is None:
            self._refuse_unknown(frame[1])
            return
        stream.receive_fin(frame[2])
        if stream.reset_cause:
            return
        if stream.consumed == stream.final:
            self._mark_credit(stream)
        if not stream.discarding:
            events.append(EofReceived(stream))

    def _on_reset(self, frame: list[Any], events: list[Event]) -> None:
        _, stream_id, final, cause, detail = frame[:5]
        stream = self._known(stream_id)
        if stream is None:
            return
        if not stream.received <= final <= stream.receive_limit:
            raise violation(f"RESET of stream {stream_id} at {final}")
        # What was sent and will never come is paid back at once.
        self.session.receive(final - stream.received)
        stream.received = final
        refused = stream.local and not stream.accepted
        if stream.reset_cause:
            self._drop_received(stream)
            del self.streams[stream_id]
            return
        stream.reset_detail = ""
        self.reset(stream, "reset", "")
        del self.streams[stream_id]
        events.append(StreamEnded(stream, cause, detail, refused))

    def _on_credit(self, frame: list[Any], events: list[Event]) -> None:
        _, stream_id, consumed, limit = frame[:4]
        if stream_id == 0:
            self.session.credit(consumed, limit)
            return
        stream = self.streams.get(stream_id)
        if stream is None or stream.reset_cause:
            return
        stream.acknowledge(consumed)
        stream.send_limit = max(stream.send_limit, limit)
        if stream.finished and stream.credited == stream.consumed_position:
            del self.streams[stream_id]
        elif stream.fin_acked and stream.discarding and stream.received and stream.final < 0:
            self.reset(stream, "closed", "the reader has gone")
        else:
            self.schedule(stream)

    def _on_ping(self, frame: list[Any], events: list[Event]) -> None:
        self._pongs += 1
        if self._pongs > MAX_PENDING_PONGS:
            raise violation("ping flood")
        self._control.append(encode(FrameType.PONG, frame[1]))

    def _on_pong(self, frame: list[Any], events: list[Event]) -> None:
        pass  # any byte is a sign of life: `heard` has taken note

    def _on_call(self, frame: list[Any], events: list[Event]) -> None:
        if self._calls.call_received(frame[1]):
            events.append(CallReceived(frame[1], frame[2], frame[3]))

    def _on_reply(self, frame: list[Any], events: list[Event]) -> None:
        if self._calls.reply_received(frame[1]):
            events.append(ReplyReceived(frame[1], frame[2], frame[3]))

    def _on_goaway(self, frame: list[Any], events: list[Event]) -> None:
        events.append(GoAwayReceived(frame[1], frame[2], frame[3]))

    def _on_resume(self, frame: list[Any], events: list[Event]) -> None:
        peer = self._resuming
        if peer is None:
            raise violation("RESUME of a session that is not resumed")
        peer.add(frame)
        if peer.complete:
            self._resuming = None
            events.extend(apply_resume(self, peer))
            events.append(Resumed())

    def _known(self, stream_id: int) -> MuxStream | None:
        stream = self.streams.get(stream_id)
        if stream is None and stream_id >= self.next_stream_id and stream_id % 2 == self.dialler:
            raise violation(f"stream {stream_id} is ours to open, and is not open")
        return stream

    def _refuse_unknown(self, stream_id: int) -> None:
        self._send_stream_frame(encode(FrameType.RESET, stream_id, 0, "unknown_stream", ""))


def _cut(text: str, most_bytes: int) -> str:
    """The text within a frame's limit, still valid UTF-8."""
    return text.encode()[:most_bytes].decode(errors="ignore")


Handler = Callable[[MuxConnection, list[Any], list[Event]], None]

_HANDLERS: dict[int, Handler] = {
    FrameType.HELLO: MuxConnection._on_handshake,
    FrameType.WELCOME: MuxConnection._on_handshake,
    FrameType.OPEN: MuxConnection._on_open,
    FrameType.ACCEPT: MuxConnection._on_accept,
    FrameType.DATA: MuxConnection._on_data,
    FrameType.FIN: MuxConnection._on_fin,
    FrameType.RESET: MuxConnection._on_reset,
    FrameType.CREDIT: MuxConnection._on_credit,
    FrameType.PING: MuxConnection._on_ping,
    FrameType.PONG: MuxConnection._on_pong,
    FrameType.CALL: MuxConnection._on_call,
    FrameType.REPLY: MuxConnection._on_reply,
    FrameType.GOAWAY: MuxConnection._on_goaway,
    FrameType.RESUME: MuxConnection._on_resume,
}
_STREAM_FRAMES = frozenset(
    {
        FrameType.OPEN,
        FrameType.ACCEPT,
        FrameType.DATA,
        FrameType.FIN,
        FrameType.RESET,
        FrameType.CREDIT,
    }
)
