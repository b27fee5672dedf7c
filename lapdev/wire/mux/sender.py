"""What leaves, and in which order: control first, then data, stream after stream.

Control is made of encoded frames; they belong to one connection and die with it. Data and credit
are only notes that a stream has something to say, and are encoded at the last moment.

Data is shared out by deficit round robin, with what fq_codel (RFC 8290 §4.2) adds to it: a stream
that was silent is served before those that are busy all the time, until it has used its quantum of
this round. So the few bytes of a request overtake any number of downloads, and nobody starves.
"""

from __future__ import annotations

from collections import deque

from lapdev.wire.mux.frames import (
    DATA_HEAD_BYTES,
    MAX_DATA_BYTES,
    FrameType,
    encode,
    encode_data,
    encode_data_header,
    encode_datagram_header,
)
from lapdev.wire.mux.outbox import MessageParts, Outbox
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream

QUANTUM_BYTES = 65_536
"""What a stream may send in one round: the busy ones once each. One that is alone may send more."""
MANY_STREAMS = 64
"""More that wait are counted by number, not by bytes."""
SMALL_BYTES = 1_024
"""Up to here a stream that has no more to say is served the short way."""


class Sender:
    """What one link sends. `streams` is the session's own table: a stream that has left it, or has
    gone to another link, is not served."""

    __slots__ = (
        "_busy",
        "_control",
        "_credits",
        "_fresh",
        "_number",
        "_report_at",
        "_round",
        "_session",
        "_starved",
        "_streams",
        "_turns",
        "_unreported",
        "_writable",
        "sent",
    )

    def __init__(self, number: int, streams: dict[int, MuxStream], session: SessionCredit) -> None:
        self._number = number
        self._streams = streams
        self._session = session
        self._control: list[bytes] = []
        self._fresh: deque[MuxStream] = deque()
        self._busy: deque[MuxStream] = deque()
        self._starved: list[MuxStream] = []
        """They lack the session's credit, and nobody looks at them until there is some."""
        self._round = 0
        self._turns = 0
        """Busy streams that have still to be served in this round."""
        self._credits: list[MuxStream] = []
        self._unreported: list[MuxStream] = []
        self._report_at = 0.0
        self._writable: list[MuxStream] = []
        self.sent = 0
        """Bytes of stream data that ever left on this link, as the session's credit counts."""

    # Notes

    def control(self, frame: bytes) -> None:
        self._control.append(frame)

    def control_once(self, frame: bytes) -> None:
        """Not again right after itself: a frame that comes in pieces has one answer."""
        if not self._control or self._control[-1] != frame:
            self._control.append(frame)

    def drop_control(self) -> None:
        """The connection the frames were for is gone."""
        self._control.clear()

    def drop_streams(self) -> None:
        """Its streams are about to be brought up to date from their state, here or elsewhere."""
        for queue in (self._fresh, self._busy, self._starved):
            for stream in queue:
                stream.queued = False
            queue.clear()
        for stream in self._credits:
            stream.credit_marked = False
        for stream in self._unreported:
            stream.report_pending = False
        self._credits.clear()
        self._unreported.clear()

    @property
    def waiting(self) -> bool:
        """A stream waits for its turn."""
        return bool(self._fresh or self._busy)

    @property
    def queued_bytes(self) -> int:
        """Bytes written to its streams that wait for nothing but their turn.

        Of many streams a turn's worth each: it is asked for every stream that is opened.
        """
        waiting = len(self._fresh) + len(self._busy)
        if waiting > MANY_STREAMS:
            return waiting * QUANTUM_BYTES
        queues = self._fresh, self._busy
        return sum(stream.unsent_bytes for queue in queues for stream in queue)

    def schedule(self, stream: MuxStream) -> None:
        """The stream takes its turn if it has something that may leave."""
        if not stream.queued and stream.sendable:
            stream.queued = True
            if stream.round != self._round:
                stream.round = self._round
                stream.deficit = QUANTUM_BYTES
            if stream.deficit > 0:
                self._fresh.append(stream)
            else:
                self._wait_a_round(stream)

    def mark_credit(self, stream: MuxStream) -> None:
        """The peer is told what was consumed, with the next message."""
        if not stream.credit_marked:
            stream.credit_marked = True
            self._credits.append(stream)

    def report_by(self, stream: MuxStream, deadline: float) -> None:
        """The same, once, at `deadline` if nothing else makes it due before."""
        stream.report_pending = True
        if not self._unreported:
            self._report_at = deadline
        self._unreported.append(stream)

    def next_report(self) -> float | None:
        return self._report_at if self._unreported else None

    def report(self, now: float) -> None:
        if not self._unreported or now < self._report_at:
            return
        for stream in self._unreported:
            stream.report_pending = False
            self.mark_credit(stream)
        self._unreported.clear()

    # Messages

    def messages(
        self, data_bytes: int, piece: int, *, streams: bool, session: bool
    ) -> list[MessageParts]:
        """All control, and up to `data_bytes` of data, in frames of up to `piece` bytes.

        Nothing of streams if not `streams`; the session's credit if `session`.
        """
        if streams and (self._credits or (session and self._session.credit_due)):
            self._queue_credits(session=session)
        if self._starved and self._session.send_limit > self._session.sent:
            self._busy.extendleft(reversed(self._starved))  # each keeps its place
            self._starved.clear()
        if not self._control and not (streams and (self._fresh or self._busy)):
            return []
        outbox = Outbox()
        for frame in self._control:
            outbox.add(frame)
        self._control.clear()
        if streams and (self._fresh or self._busy):
            self._send_data(outbox, data_bytes, piece)
        return outbox.messages()

    def take_writable(self) -> list[MuxStream]:
        writable, self._writable = self._writable, []
        return writable

    def _queue_credits(self, *, session: bool) -> None:
        credit = self._session
        if session and credit.credit_due:
            limit = credit.receive_limit
            credit.grant()
            if credit.receive_limit > limit:
                self._credit_frame(0, credit.consumed, credit.receive_limit)
        marked, self._credits = self._credits, []
        for stream in marked:
            stream.credit_marked = False
            if not self._serves(stream) or stream.consumed_position == stream.credited:
                continue
            stream.grant()
            self._credit_frame(stream.stream_id, stream.consumed_position, stream.receive_limit)
            if stream.finished:
                del self._streams[stream.stream_id]

    def _credit_frame(self, stream_id: int, consumed: int, limit: int) -> None:
        self._control.append(encode(FrameType.CREDIT, stream_id, consumed, limit))

    def _serves(self, stream: MuxStream) -> bool:
        return (
            self._streams.get(stream.stream_id) is stream
            and stream.link == self._number
            and not stream.reset_cause
        )

    def _wait_a_round(self, stream: MuxStream) -> None:
        stream.deficit += QUANTUM_BYTES
        self._busy.append(stream)

    def _send_data(self, outbox: Outbox, budget: int, piece: int) -> None:
        fresh, busy, streams = self._fresh, self._busy, self._streams
        while budget > 0:
            queue = fresh
            if not fresh:
                if not busy or self._turns <= 0:
                    self._round += 1
                    self._turns = len(busy)
                    if not busy:
                        break
                queue = busy
                self._turns -= 1
            stream = queue.popleft()
            stream.round = self._round
            if (
                streams.get(stream.stream_id) is not stream
                or stream.link != self._number
                or not stream.sendable
            ):
                stream.queued = False
                continue
            if len(stream.unsent) == 1 and len(stream.unsent[0]) <= SMALL_BYTES:
                sent = self._send_small(outbox, stream, budget)
                if sent:
                    budget -= sent + DATA_HEAD_BYTES
                    stream.deficit -= sent
                    stream.queued = False
                    continue
            most = min(budget, piece, QUANTUM_BYTES if fresh or busy else MAX_DATA_BYTES)
            sent = self._send_piece(outbox, stream, most)
            budget -= sent
            stream.deficit -= sent  # below zero by a part of the last piece
            if stream.end - stream.sent <= stream.wake_below:
                stream.wake_below = -1
                self._writable.append(stream)
            if not stream.sendable:
                stream.queued = False
            elif not sent:
                self._starved.append(stream)
            elif stream.deficit > 0:
                queue.appendleft(stream)  # its turn is not over
                self._turns += queue is busy
            else:
                self._wait_a_round(stream)

    def _send_small(self, outbox: Outbox, stream: MuxStream, budget: int) -> int:
        """All that the stream has to say, which is little, as one DATA frame; 0: not this way."""
        session, offset, data = self._session, stream.sent, stream.unsent[0]
        size = len(data)
        if (
            size > budget
            or offset + size > stream.send_limit
            or session.sent + size > session.send_limit
            or stream.fin_queued
            or stream.datagrams
        ):
            return 0
        outbox.add_small(encode_data(stream.stream_id, offset, data))
        stream.take_small(data)
        session.sent += size
        self.sent += size
        if stream.wake_below >= 0:
            stream.wake_below = -1
            self._writable.append(stream)
        return size

    def _send_piece(self, outbox: Outbox, stream: MuxStream, budget: int) -> int:
        """One DATA frame, and FIN when it was the last, or a datagram. Returns its bytes."""
        if stream.datagrams:
            return self._send_datagram(outbox, stream)
        session, offset = self._session, stream.sent
        room = session.send_limit - session.sent
        data = stream.take(min(budget, room))
        size = len(data)
        if size:
            outbox.add(encode_data_header(stream.stream_id, offset, size), data)
        session.sent += size
        self.sent += size
        if stream.fin_queued and not stream.fin_sent and stream.end == stream.sent:
            stream.fin_sent = True
            outbox.add(encode(FrameType.FIN, stream.stream_id, stream.end))
        return size

    def _send_datagram(self, outbox: Outbox, stream: MuxStream) -> int:
        # Never cut in two, whatever is left of the budget.
        data = stream.take_datagram()
        header = encode_datagram_header(stream.stream_id, len(data))
        outbox.add(header, data)
        return len(header) + len(data)
