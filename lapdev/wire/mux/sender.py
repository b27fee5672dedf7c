"""What leaves, and in which order: control first, then data, stream after stream.

Control is made of encoded frames; they belong to one connection and die with it. Data and credit
are only notes that a stream has something to say, and are encoded at the last moment.
"""

from __future__ import annotations

from collections import deque

from lapdev.wire.mux.frames import FrameType, encode, encode_data_header
from lapdev.wire.mux.outbox import Outbox
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream


class Sender:
    """What one link sends. `streams` is the session's own table: a stream that has left it, or has
    gone to another link, is not served."""

    __slots__ = (
        "_control",
        "_credits",
        "_number",
        "_ready",
        "_report_at",
        "_session",
        "_streams",
        "_unreported",
        "_writable",
        "sent",
    )

    def __init__(self, number: int, streams: dict[int, MuxStream], session: SessionCredit) -> None:
        self._number = number
        self._streams = streams
        self._session = session
        self._control: list[bytes] = []
        self._ready: deque[MuxStream] = deque()
        self._credits: list[MuxStream] = []
        self._unreported: list[MuxStream] = []
        self._report_at = 0.0
        self._writable: list[MuxStream] = []
        self.sent = 0
        """Bytes of stream data that ever left on this link, as the session's credit counts."""

    # Notes

    def control(self, frame: bytes) -> None:
        self._control.append(frame)

    def drop_control(self) -> None:
        """The connection the frames were for is gone."""
        self._control.clear()

    def drop_streams(self) -> None:
        """Its streams are about to be brought up to date from their state, here or elsewhere."""
        for stream in self._ready:
            stream.queued = False
        for stream in self._credits:
            stream.credit_marked = False
        for stream in self._unreported:
            stream.report_pending = False
        self._ready.clear()
        self._credits.clear()
        self._unreported.clear()

    @property
    def queued_bytes(self) -> int:
        """Bytes written to its streams that wait for nothing but their turn."""
        return sum(stream.unsent_bytes for stream in self._ready)

    def schedule(self, stream: MuxStream) -> None:
        """The stream takes its turn if it has something that may leave."""
        if not stream.queued and stream.sendable:
            stream.queued = True
            self._ready.append(stream)

    def mark_credit(self, stream: MuxStream) -> None:
        """The peer is told what was consumed, with the next message."""
        if not stream.credit_marked:
            stream.credit_marked = True
            self._credits.append(stream)

    def report_by(self, stream: MuxStream, deadline: float) -> None:
        """The same, at `deadline` if nothing else makes it due before."""
        if not stream.report_pending:
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

    def messages(self, data_bytes: int, *, streams: bool, session: bool) -> list[bytes]:
        """All control, and up to `data_bytes` of data.

        Nothing of streams if not `streams`; the session's credit if `session`.
        """
        outbox = Outbox()
        if streams:
            self._queue_credits(session=session)
        for frame in self._control:
            outbox.add(frame)
        self._control.clear()
        if streams and self._ready:
            self._send_data(outbox, data_bytes)
        return outbox.messages()

    def take_writable(self) -> list[MuxStream]:
        writable, self._writable = self._writable, []
        return writable

    def _queue_credits(self, *, session: bool) -> None:
        credit = self._session
        if session and credit.credit_due:
            credit.grant()
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

    def _send_data(self, outbox: Outbox, budget: int) -> None:
        ready = self._ready
        # A stream that lacks the session's credit keeps its place; CREDIT comes by itself.
        blocked: list[MuxStream] = []
        while ready and budget > 0:
            stream = ready.popleft()
            if not self._serves(stream) or not stream.sendable:
                stream.queued = False
                continue
            sent = self._send_piece(outbox, stream, budget)
            budget -= sent
            if not sent and stream.unsent_bytes:
                blocked.append(stream)
                continue
            if stream.unsent_bytes <= stream.wake_below:
                stream.wake_below = -1
                self._writable.append(stream)
            if stream.sendable:
                ready.append(stream)
            else:
                stream.queued = False
        ready.extend(blocked)

    def _send_piece(self, outbox: Outbox, stream: MuxStream, budget: int) -> int:
        """One DATA frame, and FIN when it was the last. Returns its bytes."""
        session, offset = self._session, stream.sent
        data = stream.take(min(budget, session.send_limit - session.sent))
        if data:
            outbox.add(encode_data_header(stream.stream_id, offset, len(data)), data)
            session.sent += len(data)
            self.sent += len(data)
        if stream.fin_queued and not stream.fin_sent and not stream.unsent_bytes:
            stream.fin_sent = True
            outbox.add(encode(FrameType.FIN, stream.stream_id, stream.end))
        return len(data)
