"""Where one websocket frame ends and the next begins, in bytes that are passed on unread.

A relay that has to put in a frame of its own may do so between two frames only, the fragments of
one message included (RFC 6455 §5.4). Nothing is checked: what is wrong is the far end's affair.
"""

from __future__ import annotations

GOING_AWAY = b"\x88\x02" + (1001).to_bytes(2, "big")
"""A close frame as a server sends it, unmasked (RFC 6455 §5.5.1, §7.4.1)."""

_CLOSE = 0x8


class FrameBoundary:
    """Follows one direction of a websocket from its first byte."""

    __slots__ = ("_head", "_payload", "closed")

    def __init__(self) -> None:
        self._head = b""  # of a frame whose length is not known yet
        self._payload = 0  # bytes of a frame that are still to come
        self.closed = False
        """A close frame has begun: no other may follow it (RFC 6455 §5.5.1)."""

    @property
    def between(self) -> bool:
        """No frame has begun that has not ended."""
        return not self._head and not self._payload

    def receive_data(self, data: bytes) -> None:
        """These bytes have passed."""
        if len(data) <= self._payload:
            self._payload -= len(data)
            return
        at = self._payload
        data, at = self._head + data[at:], 0
        self._head, self._payload = b"", 0
        while at < len(data):
            head, payload = _frame(data, at)
            if not head:
                self._head = data[at:]
                return
            self.closed = self.closed or data[at] & 0x0F == _CLOSE
            at += head + payload
        self._payload = at - len(data)

    def rest(self, data: bytes) -> int:
        """How many of these bytes belong to the frame that has begun."""
        if not self._head:
            return min(self._payload, len(data))
        head, payload = _frame(self._head + data, 0)
        if not head:
            return len(data)
        return min(head + payload - len(self._head), len(data))


def _frame(data: bytes, at: int) -> tuple[int, int]:
    """(bytes of its head, bytes of its payload); (0, 0) while the head is not complete."""
    left = len(data) - at
    if left < 2:
        return 0, 0
    second = data[at + 1]
    size, extra = second & 0x7F, 2
    if size == 126:
        extra = 4
    elif size == 127:
        extra = 10
    head = extra + (4 if second & 0x80 else 0)
    if left < head:
        return 0, 0
    if extra > 2:
        size = int.from_bytes(data[at + 2 : at + extra], "big")
    return head, size
