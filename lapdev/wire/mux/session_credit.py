"""Credit of a whole session: the sum over its streams, in both directions.

`sent` counts each byte once. What was lost with a connection is taken back when its link is
resumed and the peer says how much came over it; bytes that a RESET announces but that never came
count as received.

The peer may send a headroom beyond what was *received*, so that streams nobody reads do not stop
the others, until what is held unread reaches the most a session may hold. The headroom follows the
rate as a stream's window does; what it promises beyond the first has to be in the process's budget.
"""

from __future__ import annotations

from lapdev.wire.mux.frames import violation
from lapdev.wire.mux.window import Rate, next_window
from lapdev.wire.mux.window_budget import WindowBudget


class SessionCredit:
    __slots__ = (
        "_charged",
        "_rate",
        "budget",
        "consumed",
        "first",
        "headroom",
        "most",
        "receive_limit",
        "received",
        "send_limit",
        "sent",
    )

    def __init__(self, first: int, most: int, budget: WindowBudget) -> None:
        self.first = self.headroom = first
        """First limit of both directions, and the least headroom."""
        self.most = max(first, most)
        """What may be held unread."""
        self.budget = budget
        self.sent = 0
        self.send_limit = first
        self.received = 0
        self.consumed = 0
        self.receive_limit = first
        self._rate = Rate()
        self._charged = 0

    @property
    def held(self) -> int:
        """Received, and not consumed yet."""
        return self.received - self.consumed

    def receive(self, size: int) -> None:
        """Raises RemoteProtocolError when the peer exceeds its credit."""
        self.received += size
        if self.received > self.receive_limit:
            raise violation("flow control: data beyond the session's limit")

    @property
    def credit_due(self) -> bool:
        """The peer could be told an eighth of the headroom more."""
        return self._next_limit - self.receive_limit >= self.headroom >> 3

    @property
    def _next_limit(self) -> int:
        return min(self.consumed + self.most, self.received + self.headroom)

    def measure(self, now: float, round_trip: float) -> None:
        wanted = self._rate.wanted(self.received, now, round_trip)
        if wanted >= 0:
            self.headroom = next_window(self.headroom, wanted, self.first, self.most)

    def grant(self) -> None:
        """The peer is being told `consumed` and `receive_limit`."""
        limit = max(self._next_limit, self.receive_limit)
        beyond = max(limit - self.consumed - self.first, 0)
        if beyond <= self._charged:
            self.budget.give(self._charged - beyond)
            self._charged = beyond
        elif self.budget.take(beyond - self._charged):
            self._charged = beyond
        else:
            limit = max(self.receive_limit, self.consumed + self.first + self._charged)
        self.receive_limit = limit

    def close(self) -> None:
        """The session is over: nothing is promised any more."""
        self.budget.give(self._charged)
        self._charged = 0

    def credit(self, consumed: int, limit: int) -> None:
        """The peer's word about what we sent. Raises RemoteProtocolError if it cannot be true."""
        if consumed > self.sent:
            raise violation(f"session: {consumed} consumed of {self.sent} sent")
        self.send_limit = max(self.send_limit, limit)

    def take_back(self, lost: int) -> None:
        """So many bytes were sent over a connection and never arrived; they will be sent again."""
        self.sent -= lost
