"""Control calls in flight, both ways.

A call is kept until its reply comes and sent again whenever a connection was lost; calls are
idempotent. A reply belongs to the connection it leaves on, which is the one the call last came on:
lost with it, the repeated call makes a new one.
"""

from __future__ import annotations

from typing import Any

from lapdev.errors import LocalProtocolError
from lapdev.wire.mux.frames import FrameType, encode, violation

MAX_CALLS = 1_024
"""Calls a peer may have unanswered; beyond, it is not waiting for anything any more."""


class Calls:
    __slots__ = ("_last_id", "_serving", "_waiting")

    def __init__(self) -> None:
        self._last_id = 0
        self._waiting: dict[int, bytes] = {}
        self._serving: dict[int, int] = {}  # → the link it last came on

    def start(self, name: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """The call's id and its frame."""
        if len(self._waiting) >= MAX_CALLS:
            raise LocalProtocolError(f"{MAX_CALLS} calls are unanswered")
        call_id = self._last_id + 1
        frame = encode(FrameType.CALL, call_id, name, body)
        self._last_id = call_id
        self._waiting[call_id] = frame
        return call_id, frame

    def forget(self, call_id: int) -> None:
        """Nobody waits for the reply any more."""
        self._waiting.pop(call_id, None)

    def unanswered(self) -> list[bytes]:
        return list(self._waiting.values())

    def reply_received(self, call_id: int) -> bool:
        """Whether somebody waits for it; a second reply to a repeated call is nobody's."""
        return self._waiting.pop(call_id, None) is not None

    def call_received(self, call_id: int, link: int) -> bool:
        """Whether to carry it out: what is being served already is not begun twice."""
        if call_id in self._serving:
            self._serving[call_id] = link
            return False
        if len(self._serving) >= MAX_CALLS:
            raise violation(f"more than {MAX_CALLS} calls unanswered")
        self._serving[call_id] = link
        return True

    def served(self, call_id: int) -> int:
        """The link the call last came on."""
        return self._serving.pop(call_id, 0)
