"""One stream: two directions of bytes, each counted from 0.

Offsets work as in QUIC (RFC 9000 §2.2, §4.1): the receiver's limit is absolute, and what was sent
stays here until the peer has consumed it, so that a new connection can go on from any point. The
end of a direction (FIN) takes one place in the count, right after the last byte, as in TCP: who
reports `final + 1` has seen the end.

    sending     0 ─── acked ───────── sent ──────────── end
                freed │ kept for resend │ not yet sent   │ written by the app
    receiving   0 ─── consumed ────── received ──────── limit
                      │ held by the owner │ the peer may send

| direction | open | ended by the sender | known to both | aborted |
|---|---|---|---|---|
| sending   | write | `fin_queued`, `fin_sent` | `fin_acked` | `reset_cause` |
| receiving | data  | `final` ≥ 0 | `consumed == final` | `reset_cause` |

A stream is forgotten when both directions are known to both ends, or each has sent its RESET.
An idle stream holds no buffer.
"""

from __future__ import annotations

from collections import deque

from lapdev.errors import LocalProtocolError
from lapdev.wire.mux.frames import MAX_DATA_BYTES, Payload, violation
from lapdev.wire.mux.window import Rate, next_window

MAX_DISCARDED = 4_194_304
"""What a peer may still send to a reader that has gone, before it has read all that was written to
it. Two ends that close at once, each with more to send than the other's limit, must not wait for
each other for ever; one that goes on and on does not read."""
JOIN_BYTES = 65_536
"""What was written in pieces leaves together up to this: joining copies."""
MERGE_BYTES, MERGE_PIECES = 4096, 64
"""So many unacknowledged pieces below this size are joined: one-byte writes cost a few bytes."""

MAX_QUEUED_DATAGRAMS = 262_144
"""Bytes of datagrams that wait on one stream; what is older is of no use to anybody."""
DATAGRAM_COST = 64
"""What each counts besides its bytes, so that empty ones are not free."""


class MuxStream:
    """The state of one stream. Changed by its `MuxConnection` only; the owner reads it."""

    __slots__ = (
        "_datagram_bytes",
        "_skip",
        "_small",
        "_unacked",
        "accept_told",
        "accepted",
        "acked",
        "consumed",
        "credit_marked",
        "credited",
        "datagrams",
        "deficit",
        "discarding",
        "end",
        "fin_acked",
        "fin_queued",
        "fin_sent",
        "final",
        "least_window",
        "link",
        "local",
        "open_frame",
        "owner",
        "patience",
        "queued",
        "rate",
        "receive_limit",
        "received",
        "report_pending",
        "reset_cause",
        "reset_detail",
        "round",
        "send_limit",
        "sent",
        "stream_id",
        "unopened",
        "unsent",
        "wake_below",
        "window",
    )

    def __init__(self, stream_id: int, *, local: bool, window: int, send_limit: int) -> None:
        self.stream_id = stream_id
        self.local = local
        """This end opened it."""
        self.link = 0
        """The number of the link that carries it, or did until it was lost."""
        self.owner: object = None
        """Whatever the owner of the connection keeps with the stream."""
        self.accepted = False
        self.accept_told = False
        """The opener has been, or is being, told on the connection of the hour."""
        self.open_frame = b""
        """The OPEN, until the peer is known to have it."""
        self.unopened = False
        """It is ours, and waits until the peer has answered earlier ones."""
        # Sending
        self.acked = 0
        self.sent = 0
        self.end = 0
        self.send_limit = send_limit
        self.fin_queued = False
        self.fin_sent = False
        self.fin_acked = False
        self.unsent: list[Payload] = []
        """What was written, in pieces. None is empty."""
        self._unacked: list[Payload] = []
        self._skip = 0  # bytes of _unacked[0] that are acknowledged already
        self._small = 0  # short pieces that _unacked ends with
        self.datagrams: deque[bytes] | None = None
        """Waiting for their turn. They count for nothing and are never sent again."""
        self._datagram_bytes = 0
        # Receiving
        self.window = self.least_window = window
        self.rate: Rate | None = None
        """How fast it is read, once that matters."""
        self.received = 0
        self.consumed = 0
        self.credited = 0
        """`consumed_position` as the peer last heard it."""
        self.receive_limit = window
        self.final = -1
        self.discarding = False
        """The owner wants nothing more: what comes is dropped."""
        self.patience = MAX_DISCARDED
        """Bytes that are dropped, and earn credit, while the peer has yet to get what we wrote."""
        # Ending
        self.reset_cause = ""
        """Not empty: this end has reset the stream and waits for the peer's RESET."""
        self.reset_detail = ""
        # Marks of the connection
        self.queued = False
        self.deficit = 0
        """Bytes it may still send in this `round` of its link."""
        self.round = -1
        self.credit_marked = False
        self.report_pending = False
        self.wake_below = -1
        """Tell the owner when no more than this many bytes are unsent; -1: do not."""

    # Sending

    @property
    def unsent_bytes(self) -> int:
        return self.end - self.sent

    @property
    def sendable(self) -> bool:
        """Something could leave now, were it for this stream alone."""
        if self.reset_cause or self.unopened:
            return False
        if self.datagrams:
            return True
        if self.unsent:
            return self.sent < self.send_limit
        return self.fin_queued and not self.fin_sent

    def append(self, data: bytes) -> None:
        """`data` is written; it leaves as credit allows."""
        if self.fin_queued or self.reset_cause:
            raise LocalProtocolError(f"stream {self.stream_id} takes no more data")
        if data:
            self.unsent.append(data)
            self.end += len(data)

    def append_datagram(self, data: bytes) -> None:
        """It is sent in its turn; when too much waits, the oldest is dropped, as routers do."""
        if self.datagrams is None:
            self.datagrams = deque()
        self.datagrams.append(data)
        self._datagram_bytes += len(data) + DATAGRAM_COST
        while self._datagram_bytes > MAX_QUEUED_DATAGRAMS:
            self.take_datagram()

    def take_datagram(self) -> bytes:
        assert self.datagrams
        data = self.datagrams.popleft()
        self._datagram_bytes -= len(data) + DATAGRAM_COST
        if not self.datagrams:
            self.datagrams = None
        return data

    def take(self, most: int) -> Payload:
        """Up to `most` bytes to send now; kept until acknowledged. Empty without credit."""
        unsent = self.unsent
        if not unsent:
            return b""
        room = self.send_limit - self.sent
        size = min(most, room, MAX_DATA_BYTES)
        if size <= 0:
            return b""
        data = unsent[0]
        total = len(data)
        if total > size:
            # Of one that was written in small pieces nothing larger than itself is kept alive.
            view = memoryview(data)
            unsent[0] = view[size:]
            data = view[:size]
            total = size
        elif len(unsent) == 1:
            unsent.clear()
        else:
            count = 1
            size = min(size, JOIN_BYTES)
            while count < len(unsent) and total + len(unsent[count]) <= size:
                total += len(unsent[count])
                count += 1
            if count > 1:
                data = b"".join(unsent[:count])
            del unsent[:count]
        self.sent += total
        if total < MERGE_BYTES:
            self._keep_small(data)
        else:
            self._unacked.append(data)
            self._small = 0
        return data

    def take_small(self, data: Payload) -> None:
        """`data`, which is all that is unsent, and short, is sent now; kept until acknowledged."""
        self.unsent.clear()
        self.sent += len(data)
        self._keep_small(data)

    def _keep_small(self, data: Payload) -> None:
        unacked = self._unacked
        unacked.append(data)
        self._small += 1
        # Never the first piece: `_skip` counts into it.
        if self._small >= MERGE_PIECES < len(unacked):
            tail = MERGE_PIECES
            if len(unacked) > tail + 1 and len(unacked[-tail - 1]) <= MERGE_BYTES // 2:
                tail += 1  # what was joined last
            unacked[-tail:] = [b"".join(unacked[-tail:])]
            self._small = 0

    def acknowledge(self, position: int) -> None:
        """The peer has everything below `position`; the end itself is one more than the last byte.

        Raises:
            RemoteProtocolError: that was never sent.
        """
        if position > self.sent + self.fin_sent:
            raise violation(f"stream {self.stream_id}: {position} acknowledged of {self.sent} sent")
        if self.fin_sent and position == self.end + 1:
            self.fin_acked = True
            position = self.end
        if position <= self.acked:
            return
        skip = self._skip + position - self.acked
        self.acked = position
        done = 0
        for piece in self._unacked:
            if skip < len(piece):
                break
            skip -= len(piece)
            done += 1
        del self._unacked[:done]
        self._skip = skip

    def rewind(self, position: int) -> None:
        """Sending goes on from `position`: what was sent beyond it got lost with the connection.

        Raises:
            RemoteProtocolError: `position` was never sent, or is below what was acknowledged.
        """
        self.acknowledge(position)
        if position < self.acked:
            raise violation(f"stream {self.stream_id}: resumed below what was acknowledged")
        lost = self._unacked
        if lost:
            lost[0] = lost[0][self._skip :]
            self.unsent[:0] = lost
            self._unacked = []
            self._skip = self._small = 0
        self.sent = self.acked
        self.fin_sent = self.fin_acked

    def drop_unsent(self) -> None:
        """Nothing more will be sent; the buffers are freed."""
        self.unsent.clear()
        self._unacked.clear()
        self._skip = self._small = 0
        self.datagrams = None
        self._datagram_bytes = 0
        self.end = self.sent

    # Receiving

    def receive(self, offset: int, size: int) -> None:
        """The peer's bytes [offset, offset + size) have arrived.

        Raises:
            RemoteProtocolError: out of order, after the end, or beyond the limit.
        """
        if self.final >= 0:
            raise violation(f"stream {self.stream_id}: data after the end")
        if offset != self.received:
            raise violation(f"stream {self.stream_id}: data at {offset}, not at {self.received}")
        if offset + size > self.receive_limit:
            raise violation(f"stream {self.stream_id}: flow control: data beyond the limit")
        self.received += size

    def receive_fin(self, final: int) -> None:
        if self.final >= 0 or final != self.received:
            raise violation(f"stream {self.stream_id}: bad end at {final}")
        self.final = final

    @property
    def received_position(self) -> int:
        """What a RESUME says was received: the end counts as one."""
        return self.received + (self.final >= 0)

    @property
    def consumed_position(self) -> int:
        """What a CREDIT says was consumed: the end counts as one."""
        return self.consumed + (self.consumed == self.final)

    @property
    def credit_due(self) -> bool:
        """An eighth of the window has been consumed since the peer last heard of it.

        Early enough that a peer with data never waits, late enough to be rare.
        """
        return self.consumed - self.credited >= self.window >> 3

    def measure(self, now: float, round_trip: float, most: int) -> None:
        """The window follows what the reader takes."""
        if self.rate is None:
            self.rate = Rate()
        wanted = self.rate.wanted(self.consumed, now, round_trip)
        if wanted >= 0:
            self.window = next_window(self.window, wanted, self.least_window, most)

    def grant(self) -> None:
        """The peer is being told `consumed_position` and `receive_limit`."""
        self.credited = self.consumed_position
        self.receive_limit = max(self.receive_limit, self.consumed + self.window)

    @property
    def forgotten_by_peer(self) -> bool:
        """The peer knows, or will before anything else we say, that both directions ended.

        It does not answer a RESET any more.
        """
        return self.fin_acked and self.final >= 0 and self.credited == self.final + 1

    @property
    def finished(self) -> bool:
        """Both directions ended, and each end knows."""
        return self.fin_acked and self.consumed == self.final
