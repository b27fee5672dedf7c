"""Joins frames into websocket messages.

Small frames share a message. A large payload ends its message and stays a piece of its own, so that
nobody copies it in order to join it.
"""

from __future__ import annotations

from lapdev.wire.mux.frames import JOIN_BYTES, LARGE_BYTES, MAX_MESSAGE_BYTES, Payload

MessageParts = tuple[bytes, Payload]
"""A message: whole frames, or whole frames and the beginning of one whose payload follows."""


class Outbox:
    """Frames in order; as few messages as that allows. A frame is never split."""

    __slots__ = ("_messages", "_parts", "_size")

    def __init__(self) -> None:
        self._messages: list[MessageParts] = []
        self._parts: list[Payload] = []
        self._size = 0

    def add(self, frame: bytes, payload: Payload = b"") -> None:
        size = len(frame) + len(payload)
        if self._size and self._size + size > MAX_MESSAGE_BYTES:
            self._cut()
        self._parts.append(frame)
        if len(payload) > LARGE_BYTES:
            self._cut(payload)
            return
        if payload:
            self._parts.append(payload)
        self._size += size
        if self._size >= JOIN_BYTES:
            self._cut()

    def add_small(self, frame: bytes) -> None:
        """For a caller that adds no more than `JOIN_BYTES` in this way: nothing is cut here."""
        self._parts.append(frame)
        self._size += len(frame)

    def messages(self) -> list[MessageParts]:
        if self._parts:
            self._cut()
        return self._messages

    def _cut(self, payload: Payload = b"") -> None:
        parts = self._parts
        self._messages.append((parts[0] if len(parts) == 1 else b"".join(parts), payload))  # type: ignore[arg-type]  # the first is a frame
        self._parts = []
        self._size = 0
