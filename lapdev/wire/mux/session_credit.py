"""Credit of a whole session: the sum over its streams, in both directions.

`sent` counts each byte once. What was lost with a connection is taken back when its link is
resumed and the peer says how much came over it; bytes that a RESET announces but that never came
count as received.
"""

from __future__ import annotations

from lapdev.wire.mux.frames import violation


class SessionCredit:
    __slots__ = (
        "consumed",
        "credited",
        "receive_limit",
        "received",
        "send_limit",
        "sent",
        "window",
    )

    def __init__(self, window: int) -> None:
        self.window = window
        self.sent = 0
        self.send_limit = window
        self.received = 0
        self.consumed = 0
        self.credited = 0
        self.receive_limit = window

    def receive(self, size: int) -> None:
        """Raises RemoteProtocolError when the peer exceeds its credit."""
        self.received += size
        if self.received > self.receive_limit:
            raise violation("flow control: data beyond the session's limit")

    @property
    def credit_due(self) -> bool:
        return self.consumed - self.credited >= self.window >> 3

    def grant(self) -> None:
        """The peer is being told `consumed` and `receive_limit`."""
        self.credited = self.consumed
        self.receive_limit = self.consumed + self.window

    def credit(self, consumed: int, limit: int) -> None:
        """The peer's word about what we sent. Raises RemoteProtocolError if it cannot be true."""
        if consumed > self.sent:
            raise violation(f"session: {consumed} consumed of {self.sent} sent")
        self.send_limit = max(self.send_limit, limit)

    def take_back(self, lost: int) -> None:
        """So many bytes were sent over a connection and never arrived; they will be sent again."""
        self.sent -= lost
