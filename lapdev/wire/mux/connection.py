"""A session of the tunnel without its sockets: messages in, events out, messages to send.

`MuxConnection` outlives the connections that carry it: up to four, each on a numbered link.
`attach` begins one, `detach` ends it; in between nothing is lost: what the peer may have missed is
known from the streams' offsets and sent again after both ends have said in RESUME what they hold.
Every stream belongs to one link, and all its frames travel there. HELLO and WELCOME have been
exchanged before (see `handshake`): only they tell which session a connection belongs to.
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
    MAX_DATA_BYTES,
    MAX_DATAGRAM_BYTES,
    MAX_DETAIL_BYTES,
    MAX_LINKS,
    FrameType,
    Message,
    encode,
)
from lapdev.wire.mux.link import Link
from lapdev.wire.mux.liveness import LivenessOptions, Verdict
from lapdev.wire.mux.moves import Moves
from lapdev.wire.mux.openings import Openings
from lapdev.wire.mux.outbox import MessageParts
from lapdev.wire.mux.receive import receive
from lapdev.wire.mux.seen import SeenIds
from lapdev.wire.mux.sender import Sender
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream
from lapdev.wire.mux.window_budget import WindowBudget


@dataclass(frozen=True, slots=True)
class MuxOptions:
    """Windows in bytes, delays in seconds."""

    stream_window: int = 262_144
    """What each stream begins with, and what a slow one comes back to."""
    max_stream_window: int = 33_554_432
    session_window: int = 4_194_304
    """The same for all streams together; a headroom, so that unread streams stop no others."""
    max_session_window: int = 67_108_864
    """What a session holds unread at most."""
    max_streams: int = 16_384
    max_pending: int = 256
    """Streams that one end opened and the other has neither accepted nor refused yet. More wait at
    their opener; an opener that does not wait is refused."""
    credit_delay: float = 1.0
    """When consumption below an eighth of the window is told: it frees the peer's memory."""
    liveness: LivenessOptions = field(default_factory=LivenessOptions)


class MuxConnection:
    """One session. Not thread-safe; methods never block.

    Every send method only notes what is to go: call `data_to_send` for each of `links` at the end
    of the loop tick.
    """

    def __init__(
        self, *, dialler: bool, options: MuxOptions, budget: WindowBudget | None = None
    ) -> None:
        self.options = options
        self.dialler = dialler
        self.streams: dict[int, MuxStream] = {}
        """Every stream that is not forgotten by both ends yet."""
        self.links: tuple[int, ...] = ()
        """Links that have a connection, ascending."""
        self.now = 0.0
        self._last_link = 0
        # The rest is for the modules of this room.
        self.budget = budget or WindowBudget()
        self.session = SessionCredit(
            options.session_window, options.max_session_window, self.budget
        )
        self.table: dict[int, Link] = {}
        self.calls = Calls()
        self.moves = Moves()
        self.next_stream_id = 1 if dialler else 2
        self.peer_ids = SeenIds()
        """The stream ids the peer has used."""
        self.pending = 0
        """Streams of the peer that are neither accepted nor reset."""
        self._openings = Openings(options.max_pending)
        self._first_settled = -1
        self.link(0)

    # Connections

    def attach(self, link: int, now: float, *, resumed: bool) -> None:
        """A connection carries the link now. `resumed` is what WELCOME said.

        A link but the first is always resumed: only its session's first connection begins one.
        """
        self.detach(link)
        state = self.link(link)
        self.now = now
        state.attached(now, resumed=resumed)
        self.links_changed()
        if resumed and self.dialler:
            state.unasked = True
            self.moves.proceed(self)
        if self.links == (link,):
            self._repeat_calls()

    def detach(self, link: int) -> None:
        """The connection is gone; what was under way on it may or may not have arrived.

        Its streams wait until the link is attached again, or moved.
        """
        state = self.link(link)
        if not state.live:
            return
        state.detached()
        self.links_changed()
        self.moves.carrier_lost(link)
        self.moves.proceed(self)
        # A call or its answer may have been lost with it, and calls may be repeated.
        self._repeat_calls()

    def close(self) -> None:
        """The session is over at this end: nothing is kept, and the budget has its part back."""
        for link in self.links:
            self.detach(link)
        for stream in list(self.streams.values()):
            self.forget(stream)
        self.session.close()

    def move(self, link: int, to: int) -> None:
        """The streams of the detached `link` go on over the live link `to`, once the peer knows.

        Without effect if they are being resumed already. For the dialler only.
        """
        if not self.dialler or link == to or self.link(link).live or not self.link(to).live:
            raise LocalProtocolError(f"link {link} cannot be moved to link {to}")
        self.moves.wish(link, to)
        self.moves.proceed(self)

    def pause(self, link: int) -> None:
        """The transport is congested: only control leaves, new streams prefer other links."""
        self.link(link).congested = True

    def resume(self, link: int) -> None:
        self.link(link).congested = False

    def heard(self, link: int, now: float) -> None:
        """A byte of the peer arrived on the link at `now`. Call it before `receive_data`."""
        self.now = now
        self.table[link].liveness.heard(now)

    def receive_data(self, link: int, message: Message) -> list[Event]:
        """What the message says, in order. What still comes on a detached link is dropped.

        Raises:
            RemoteProtocolError: the session is over; `answer_status` is the close code to send.
        """
        state = self.table[link]
        return receive(self, state, message) if state.live else []

    def data_to_send(self, link: int, data_bytes: int = JOIN_BYTES) -> list[bytes]:
        """Messages to send on this link now, each in one piece."""
        return [b"".join(parts) for parts in self.messages_to_send(link, data_bytes)]

    def messages_to_send(
        self, link: int, data_bytes: int = JOIN_BYTES, piece: int = MAX_DATA_BYTES
    ) -> list[MessageParts]:
        """Messages to send on this link now: all control, then up to `data_bytes` of stream data.

        Streams take turns, with up to 64 KiB each, in frames of at most `piece` bytes. A link that
        is paused sends control only.
        """
        state = self.table[link]
        if not state.live:
            return []
        state.pongs_due = 0
        while stream := self._openings.next():
            stream.link = self._pick_link()
            self.send_open(stream)
            self.sender_of(stream).schedule(stream)
        return state.sender.messages(
            0 if state.congested else data_bytes,
            piece,
            streams=state.settled,
            session=link == self._first_settled,
        )

    def has_more(self, link: int) -> bool:
        """More waits for this link, or may have to wait for credit."""
        state = self.table[link]
        return state.live and not state.congested and state.sender.waiting

    def take_writable(self) -> list[MuxStream]:
        """Streams whose unsent bytes have fallen to `wake_below` since the last call."""
        if len(self.table) == 1:
            return self.table[0].sender.take_writable()
        return [stream for link in self.table.values() for stream in link.sender.take_writable()]

    # Time

    def next_deadline(self) -> float | None:
        """When `handle_timeout` wants to be called; None while no link is attached."""
        links = self.links
        if len(links) == 1:
            return self.table[links[0]].next_deadline()
        return min((self.table[number].next_deadline() for number in links), default=None)

    def handle_timeout(self, now: float) -> list[Event]:
        """Time has passed. May be called early; then nothing happens."""
        self.now = now
        events: list[Event] = []
        for number in self.links:
            state = self.table[number]
            state.sender.report(now)
            match state.liveness.handle_timeout(now):
                case Verdict.PROBE:
                    state.ping(now)
                case Verdict.DEAD:
                    events.append(ConnectionDead(number))
                case Verdict.WAIT:
                    pass
        return events

    def probe(self, now: float) -> None:
        """The peer is asked on every link whether it is still there, with little patience."""
        self.now = now
        for number in self.links:
            state = self.table[number]
            state.liveness.probe(now)
            state.ping(now)

    def measure(self, link: int) -> None:
        """How long a round trip on the link takes is asked now, and known with the answer."""
        self.table[link].ping(self.now)

    def ping(self, now: float) -> None:
        """The peer is asked on every link for a word; see `echoed`."""
        for number in self.links:
            self.table[number].ping(now)

    @property
    def echoed(self) -> bool:
        """On every link the peer has answered the last PING: it has seen all that left before."""
        return not any(self.table[number].round_trip.unanswered for number in self.links)

    # Streams

    def open(self, target: dict[str, Any]) -> MuxStream:
        """A new stream; data may be written to it at once.

        Raises:
            LocalProtocolError: too many streams are open, or the target cannot be encoded.
        """
        if len(self.streams) >= self.options.max_streams:
            raise LocalProtocolError(f"{self.options.max_streams} streams are open")
        window, send_limit = self._first_window(), self.options.stream_window
        stream = MuxStream(self.next_stream_id, local=True, window=window, send_limit=send_limit)
        stream.open_frame = encode(FrameType.OPEN, stream.stream_id, target, window)
        stream.link = self._pick_link()
        self.next_stream_id += 2
        self.streams[stream.stream_id] = stream
        if self._openings.begin(stream, repr(target)):
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
        if not stream.queued:
            self.table[stream.link].sender.schedule(stream)

    def send_datagram(self, stream: MuxStream, data: bytes) -> None:
        """`data` leaves whole, at once or never; it may get lost. Dropped on a stream that ends.

        Raises:
            LocalProtocolError: it is larger than a datagram may be.
        """
        if len(data) > MAX_DATAGRAM_BYTES:
            raise LocalProtocolError(f"a datagram of {len(data)} bytes")
        if self._alive(stream) and not stream.fin_queued:
            stream.append_datagram(data)
            self.sender_of(stream).schedule(stream)

    def finish(self, stream: MuxStream) -> None:
        """This end writes nothing more; its FIN follows what is written."""
        if not stream.fin_queued and not stream.reset_cause:
            stream.fin_queued = True
            self.sender_of(stream).schedule(stream)

    def consumed(self, stream: MuxStream, size: int) -> None:
        """The owner took `size` received bytes: the peer may send as many more."""
        if stream.discarding or not self._alive(stream):
            return
        stream.consumed = consumed = stream.consumed + size
        self.session.consumed += size
        link = self.table[stream.link]
        if consumed == stream.final:
            link.sender.mark_credit(stream)
        elif stream.credit_due:
            self._measure(stream, link)
            link.sender.mark_credit(stream)
        else:
            if stream.window > stream.least_window:
                self._measure(stream, link)  # it may have become slow
            if not stream.report_pending:
                link.sender.report_by(stream, self.now + self.options.credit_delay)

    def discard(self, stream: MuxStream) -> None:
        """What still comes is dropped; once the peer has all we wrote, more brings it a reset."""
        if self._alive(stream) and not stream.discarding:
            stream.discarding = True
            self.drop_received(stream)
            if stream.consumed == stream.final or stream.credit_due:
                self.sender_of(stream).mark_credit(stream)

    def reset(self, stream: MuxStream, cause: str, detail: str = "") -> None:
        """Both directions end at once; the peer sees `cause` (a word) and `detail`. Idempotent."""
        if not self._alive(stream):
            return
        if stream.fin_acked and stream.final >= 0 and (stream.local or stream.accepted):
            # Both directions have ended, and only this end's owner has not read all: the peer may
            # have forgotten the stream, and would leave a RESET without its answer.
            self.discard(stream)
        elif stream.unopened:
            self.forget(stream)
        else:
            self.abort(stream, cause or "reset", detail)

    def forget(self, stream: MuxStream) -> None:
        """The stream is gone from this end, without a word to the peer."""
        stream.unopened = False
        self.answered(stream)
        if self.streams.pop(stream.stream_id, None) is not None and not stream.reset_cause:
            if not stream.local and not stream.accepted:
                self.pending -= 1
            self.drop_received(stream)
            stream.drop_unsent()

    # Calls

    def call(self, name: str, body: dict[str, Any]) -> int:
        """The call's id. It is repeated whenever a connection was lost, until its reply comes."""
        call_id, frame = self.calls.start(name, body)
        if self.links:
            self.table[self.links[0]].sender.control(frame)
        return call_id

    def forget_call(self, call_id: int) -> None:
        self.calls.forget(call_id)

    def reply(self, call_id: int, ok: bool, body: dict[str, Any]) -> None:
        """The caller gets its answer.

        Raises:
            LocalProtocolError: the body cannot be encoded; reply with something else.
        """
        frame = encode(FrameType.REPLY, call_id, ok, body)
        # On the link the call last came on: the caller repeats it once that one is lost.
        link = self.calls.served(call_id)
        if self.links:
            self.table[link if link in self.links else self.links[0]].sender.control(frame)

    def go_away(self, scope: int, drain_seconds: int, reason: str, link: int = -1) -> None:
        """The peer is told to move its streams, and when this end will be gone.

        `link` is the one that scope LINK is about; without it, any that is alive.
        """
        link = self.links[0] if link < 0 and self.links else link
        if link in self.links:
            reason = _cut(reason, MAX_DETAIL_BYTES)
            frame = encode(FrameType.GOAWAY, scope, drain_seconds, reason)
            self.table[link].sender.control(frame)

    # For the modules of this room

    def is_ours(self, stream_id: int) -> bool:
        """Whether this end gives out such ids: the dialler odd ones, the acceptor even ones."""
        return stream_id % 2 == self.dialler

    def link(self, number: int) -> Link:
        """The state of that link, made when it is first heard of."""
        state = self.table.get(number)
        if state is None:
            if not 0 <= number < MAX_LINKS:
                raise LocalProtocolError(f"link {number} of {MAX_LINKS}")
            state = Link(number, self.streams, self.session, self.options.liveness)
            self.table[number] = state
        return state

    def links_changed(self) -> None:
        """A link was attached, detached or settled."""
        live = sorted(number for number, link in self.table.items() if link.live)
        self.links = tuple(live)
        self._first_settled = next((n for n in live if self.table[n].settled), -1)

    def sender_of(self, stream: MuxStream) -> Sender:
        return self.table[stream.link].sender

    def answered(self, stream: MuxStream) -> None:
        """The peer has accepted or refused our stream, or will hear that it is over."""
        self._openings.answered(stream)

    def send_open(self, stream: MuxStream) -> None:
        self._send_stream_frame(stream, stream.open_frame)

    def send_accept(self, stream: MuxStream) -> None:
        stream.accept_told = self.table[stream.link].settled
        fields = (stream.stream_id, stream.receive_limit)
        self._send_stream_frame(stream, encode(FrameType.ACCEPT, *fields))

    def send_reset(self, stream: MuxStream) -> None:
        fields = (stream.stream_id, stream.sent, stream.reset_cause, stream.reset_detail)
        self._send_stream_frame(stream, encode(FrameType.RESET, *fields))

    def abort(self, stream: MuxStream, cause: str, detail: str = "") -> None:
        """The RESET itself, which the peer answers or which answers the peer's."""
        if not stream.local and not stream.accepted:
            self.pending -= 1
        self.answered(stream)
        stream.reset_cause = _cut(cause, MAX_CAUSE_BYTES)
        stream.reset_detail = _cut(detail, MAX_DETAIL_BYTES)
        stream.drop_unsent()
        self.drop_received(stream)
        self.send_reset(stream)

    def drop_received(self, stream: MuxStream) -> None:
        """What nobody will read is paid back to the session."""
        self.session.consumed += stream.received - stream.consumed
        stream.consumed = stream.received

    def _send_stream_frame(self, stream: MuxStream, frame: bytes) -> None:
        # While a link is being resumed, its streams are brought up to date from their state.
        link = self.table[stream.link]
        if link.settled:
            link.sender.control(frame)

    def _measure(self, stream: MuxStream, link: Link) -> None:
        """Windows follow what is read in a round trip; an eighth of one has been."""
        if link.round_trip.is_due(self.now):
            link.ping(self.now)
        round_trip = link.round_trip.minimum
        if round_trip:
            stream.measure(self.now, round_trip, self.options.max_stream_window)
            self.session.measure(self.now, round_trip)

    def _first_window(self) -> int:
        """A session that holds much already begins new streams with less."""
        window, most = self.options.stream_window, self.session.most
        if 2 * self.session.held <= most:
            return window
        return min(window, 65_536 if 4 * self.session.held <= 3 * most else 16_384)

    def _pick_link(self) -> int:
        """For a new stream: uncongested first, then the least busy and queued, then in turn."""
        links = self.links
        if len(links) < 2:
            return links[0] if links else 0

        def rank(number: int) -> tuple[bool, bool, int, int, int]:
            link = self.table[number]
            turn = (number - self._last_link - 1) % MAX_LINKS
            busy = link.load(self.now), link.sender.queued_bytes
            return not link.settled, link.congested, *busy, turn

        self._last_link = min(links, key=rank)
        return self._last_link

    def _repeat_calls(self) -> None:
        if self.links:
            sender = self.table[self.links[0]].sender
            for frame in self.calls.unanswered():
                sender.control(frame)

    def _alive(self, stream: MuxStream) -> bool:
        return not stream.reset_cause and self.streams.get(stream.stream_id) is stream


def _cut(text: str, most_bytes: int) -> str:
    """The text within a frame's limit, still valid UTF-8."""
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")
