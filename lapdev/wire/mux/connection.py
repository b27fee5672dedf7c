"""A session of the tunnel without its sockets: messages in, events out, messages to send.

`MuxConnection` outlives the connections that carry it. `attach` begins one, `detach` ends it; in
between nothing is lost: what the peer may have missed is known from the streams' offsets and sent
again after both ends have said in RESUME what they hold. HELLO and WELCOME have been exchanged
before (see `handshake`), because only they tell which session a connection belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lapdev.errors import LocalProtocolError
from lapdev.wire.mux.calls import Calls
from lapdev.wire.mux.events import ConnectionDead, Event
from lapdev.wire.mux.frames import (
    JOIN_BYTES,
    MAX_CAUSE_BYTES,
    MAX_DETAIL_BYTES,
    FrameType,
    encode,
)
from lapdev.wire.mux.liveness import Liveness, LivenessOptions, Verdict
from lapdev.wire.mux.receive import receive
from lapdev.wire.mux.resume import PeerResume, resume_frames
from lapdev.wire.mux.sender import Sender
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream


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
        """Every stream that is not forgotten by both ends yet."""
        self.attached = False
        self._liveness = Liveness(options.liveness)
        self._now = 0.0
        # The rest is for the modules of this room.
        self.session = SessionCredit(options.session_window)
        self.sender = Sender(self.streams, self.session)
        self.calls = Calls()
        self.next_stream_id = 1 if dialler else 2
        self.peer_opened = 0
        """The highest stream id the peer has opened."""
        self.pending = 0
        """Streams of the peer that are neither accepted nor reset."""
        self.pongs_due = 0
        self.resuming: PeerResume | None = None
        """Not None: the peer's RESUME has not come; nothing of streams may leave or arrive."""

    # Connections

    def attach(self, now: float, *, resumed: bool) -> None:
        """A connection carries the session now. `resumed` is what WELCOME said."""
        self.detach()
        self.attached = True
        self.heard(now)
        if resumed:
            self.resuming = PeerResume()
            for frame in resume_frames(self):
                self.sender.control(frame)
        for frame in self.calls.unanswered():
            self.sender.control(frame)

    def detach(self) -> None:
        """The connection is gone; what was under way on it may or may not have arrived."""
        self.attached = False
        self.sender.drop_control()
        self.resuming = None
        self.pongs_due = 0

    def heard(self, now: float) -> None:
        """A byte of the peer arrived at `now`. Call it before `receive_data`."""
        self._now = now
        self._liveness.heard(now)

    def receive_data(self, message: bytes) -> list[Event]:
        """What the message says, in order.

        Raises:
            RemoteProtocolError: the session is over; `answer_status` is the close code to send.
        """
        return receive(self, message)

    def data_to_send(self, data_bytes: int = JOIN_BYTES) -> list[bytes]:
        """Messages to send now: all that is control, then up to `data_bytes` of stream data.

        Streams take turns in pieces of at most 64 KiB. Pass 0 while the connection is congested.
        """
        if not self.attached:
            return []
        self.pongs_due = 0
        return self.sender.messages(data_bytes, streams=self.resuming is None)

    def take_writable(self) -> list[MuxStream]:
        """Streams whose unsent bytes have fallen to `wake_below` since the last call."""
        return self.sender.take_writable()

    # Time

    def next_deadline(self) -> float | None:
        """When `handle_timeout` wants to be called; None while detached."""
        if not self.attached:
            return None
        deadline, report = self._liveness.next_deadline(), self.sender.next_report()
        return deadline if report is None else min(deadline, report)

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed. May be called early; then nothing happens."""
        self._now = now
        if not self.attached:
            return []
        self.sender.report(now)
        match self._liveness.handle_timeout(now):
            case Verdict.PROBE:
                self.sender.control(encode(FrameType.PING, int(now * 1000)))
            case Verdict.DEAD:
                return [ConnectionDead()]
            case Verdict.WAIT:
                pass
        return []

    # Streams

    def open(self, target: dict[str, Any]) -> MuxStream:
        """A new stream; data may be written to it at once.

        Raises:
            LocalProtocolError: too many streams are open, or the target cannot be encoded.
        """
        if len(self.streams) >= self.options.max_streams:
            raise LocalProtocolError(f"{self.options.max_streams} streams are open")
        window = self.options.stream_window
        stream = MuxStream(self.next_stream_id, local=True, window=window, send_limit=window)
        stream.open_frame = encode(FrameType.OPEN, stream.stream_id, target, window)
        self.next_stream_id += 2
        self.streams[stream.stream_id] = stream
        self.send_open(stream)
        return stream

    def accept(self, stream: MuxStream) -> None:
        """The peer's stream is taken. Without effect if it has ended meanwhile."""
        if stream.accepted or stream.local or not self._alive(stream):
            return
        stream.accepted = True
        self.pending -= 1
        self.send_accept(stream)

    def write(self, stream: MuxStream, data: bytes) -> None:
        """`data` is sent as credit allows. Raises LocalProtocolError after `finish` or a reset."""
        stream.append(data)
        self.sender.schedule(stream)

    def finish(self, stream: MuxStream) -> None:
        """This end writes nothing more; its FIN follows what is written."""
        if not stream.fin_queued and not stream.reset_cause:
            stream.fin_queued = True
            self.sender.schedule(stream)

    def consumed(self, stream: MuxStream, size: int) -> None:
        """The owner took `size` received bytes: the peer may send as many more."""
        if not self._alive(stream) or stream.discarding:
            return
        stream.consumed += size
        self.session.consumed += size
        if stream.credit_due or stream.consumed == stream.final:
            self.sender.mark_credit(stream)
        else:
            self.sender.report_by(stream, self._now + self.options.credit_delay)

    def discard(self, stream: MuxStream) -> None:
        """What still comes is dropped; once the peer has all we wrote, more brings it a reset."""
        if self._alive(stream) and not stream.discarding:
            stream.discarding = True
            self.drop_received(stream)
            if stream.consumed == stream.final:
                self.sender.mark_credit(stream)

    def reset(self, stream: MuxStream, cause: str, detail: str = "") -> None:
        """Both directions end at once; the peer sees `cause` (a word) and `detail`. Idempotent."""
        if not self._alive(stream):
            return
        if not stream.local and not stream.accepted:
            self.pending -= 1
        stream.reset_cause = _cut(cause or "reset", MAX_CAUSE_BYTES)
        stream.reset_detail = _cut(detail, MAX_DETAIL_BYTES)
        stream.drop_unsent()
        self.drop_received(stream)
        self.send_reset(stream)

    def forget(self, stream: MuxStream) -> None:
        """The stream is gone from this end, without a word to the peer."""
        if self.streams.pop(stream.stream_id, None) is not None and not stream.reset_cause:
            if not stream.local and not stream.accepted:
                self.pending -= 1
            self.drop_received(stream)
            stream.drop_unsent()

    # Calls

    def call(self, name: str, body: dict[str, Any]) -> int:
        """The call's id. It is repeated on each new connection until its reply comes."""
        call_id, frame = self.calls.start(name, body)
        if self.attached:
            self.sender.control(frame)
        return call_id

    def forget_call(self, call_id: int) -> None:
        self.calls.forget(call_id)

    def reply(self, call_id: int, ok: bool, body: dict[str, Any]) -> None:
        """The caller gets its answer.

        Raises:
            LocalProtocolError: the body cannot be encoded; reply with something else.
        """
        frame = encode(FrameType.REPLY, call_id, ok, body)
        self.calls.served(call_id)
        if self.attached:
            self.sender.control(frame)

    def go_away(self, scope: int, drain_seconds: int, reason: str) -> None:
        """The peer is told to move its streams, and when this end will be gone."""
        if self.attached:
            reason = _cut(reason, MAX_DETAIL_BYTES)
            self.sender.control(encode(FrameType.GOAWAY, scope, drain_seconds, reason))

    # For the modules of this room

    def is_ours(self, stream_id: int) -> bool:
        """Whether this end gives out such ids: the dialler odd ones, the acceptor even ones."""
        return stream_id % 2 == self.dialler

    def send_open(self, stream: MuxStream) -> None:
        self._send_stream_frame(stream.open_frame)

    def send_accept(self, stream: MuxStream) -> None:
        stream.accept_told = self.attached and self.resuming is None
        fields = (stream.stream_id, stream.receive_limit)
        self._send_stream_frame(encode(FrameType.ACCEPT, *fields))

    def send_reset(self, stream: MuxStream) -> None:
        fields = (stream.stream_id, stream.sent, stream.reset_cause, stream.reset_detail)
        self._send_stream_frame(encode(FrameType.RESET, *fields))

    def drop_received(self, stream: MuxStream) -> None:
        """What nobody will read is paid back to the session."""
        self.session.consumed += stream.received - stream.consumed
        stream.consumed = stream.received

    def _send_stream_frame(self, frame: bytes) -> None:
        # While a session is being resumed, streams are brought up to date from their state.
        if self.attached and self.resuming is None:
            self.sender.control(frame)

    def _alive(self, stream: MuxStream) -> bool:
        return not stream.reset_cause and self.streams.get(stream.stream_id) is stream


def _cut(text: str, most_bytes: int) -> str:
    """The text within a frame's limit, still valid UTF-8."""
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")
