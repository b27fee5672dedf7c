"""Joins frames into websocket messages."""

from __future__ import annotations

from lapdev.wire.mux.frames import JOIN_BYTES, MAX_MESSAGE_BYTES


class Outbox:
    """Frames in order; as few messages as the limits allow. A frame is never split."""

    __slots__ = ("_messages", "_parts", "_size")

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, frame: bytes, payload: bytes = b"") -> None:
        size = len(frame) + len(payload)
        if self._size and self._size + size > MAX_MESSAGE_BYTES:
            self._cut()
        self._parts.append(frame)
        if payload:
            self._parts.append(payload)
        self._size += size
        if self._size >= JOIN_BYTES:
            self._cut()

    def messages(self) -> list[bytes]:
        if self._parts:
            self._cut()
        return self._messages

    def _cut(self) -> None:
        self._messages.append(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
