"""One link of a session: a numbered place for a connection, and what is queued for it.

A session has up to four. Each carries its own streams, in order; the connection on it may be lost
and come back, or its streams may go on over another link (see `moves`). The session's credit is
counted per link: what was sent over a connection and what arrived over it are compared when it is
resumed, so the loss of one link never stops the others.
"""

from __future__ import annotations

from lapdev.wire.mux.frames import FrameType, encode
from lapdev.wire.mux.liveness import Liveness, LivenessOptions
from lapdev.wire.mux.resume import PeerResume
from lapdev.wire.mux.round_trip import RoundTrip
from lapdev.wire.mux.sender import Sender
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.stream import MuxStream

LOAD_INTERVAL = 0.5
"""Seconds between two looks at what a link has moved."""


class Link:
    """Its streams are those whose `link` is its number."""

    __slots__ = (
        "_moved",
        "_moved_at",
        "_rate",
        "congested",
        "gathering",
        "live",
        "liveness",
        "number",
        "pongs_due",
        "received",
        "round_trip",
        "sender",
        "settled",
        "unasked",
    )

    def __init__(
        self,
        number: int,
        streams: dict[int, MuxStream],
        session: SessionCredit,
        options: LivenessOptions,
    ) -> None:
        self.number = number
        self.live = False
        """A connection is attached."""
        self.settled = False
        """Both ends know where its streams stand: their frames may come and go."""
        self.unasked = False
        """At the dialler: the connection has come back, and its RESUME has not been sent."""
        self.congested = False
        """The transport wants no more: only control leaves."""
        self.received = 0
        """Bytes of stream data that ever came over this link, as the session's credit counts."""
        self._rate = 0
        self._moved = 0
        self._moved_at = 0.0
        self.pongs_due = 0
        self.gathering: PeerResume | None = None
        """The peer's RESUME, of which more frames follow."""
        self.liveness = Liveness(options)
        self.round_trip = RoundTrip()
        self.sender = Sender(number, streams, session)

    def attached(self, now: float, *, resumed: bool) -> None:
        self.live = True
        self.settled = not resumed
        self.congested = False
        self.liveness.heard(now)
        self.round_trip = RoundTrip()

    def load(self, now: float) -> int:
        """How busy it has been lately, both ways: a step for each fourfold of bytes a second."""
        elapsed = now - self._moved_at
        if elapsed >= LOAD_INTERVAL:
            moved = self.received + self.sender.sent
            self._rate = int((moved - self._moved) / elapsed)
            self._moved, self._moved_at = moved, now
        return max(self._rate, 0).bit_length() // 2

    def ping(self, now: float) -> None:
        nonce = self.round_trip.start(now, self.received)
        self.sender.control(encode(FrameType.PING, nonce))

    def next_deadline(self) -> float:
        deadline, report = self.liveness.next_deadline(), self.sender.next_report()
        return deadline if report is None else min(deadline, report)

    def detached(self) -> None:
        """What was under way, either way, may or may not have arrived."""
        self.live = self.settled = self.unasked = self.congested = False
        self.gathering = None
        self.pongs_due = 0
        self.sender.drop_control()
