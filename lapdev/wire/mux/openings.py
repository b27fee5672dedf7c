"""Streams of ours that the peer has not answered yet. It refuses more than so many at a time:
the next ones wait here, in order, so that a burst of visitors is late instead of turned away."""

from __future__ import annotations

from collections import deque

from lapdev.wire.mux.stream import MuxStream


class Openings:
    __slots__ = ("_most", "_unanswered", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._unanswered: set[int] = set()
        self._waiting: deque[MuxStream] = deque()

    def begin(self, stream: MuxStream) -> bool:
        """Whether it may be opened now; else `next` names it in its turn."""
        if self._waiting or len(self._unanswered) >= self._most:
            stream.unopened = True
            self._waiting.append(stream)
            return False
        self._unanswered.add(stream.stream_id)
        return True

    def answered(self, stream: MuxStream) -> None:
        """Accepted, refused, or given up: the peer waits for no answer of its own any more."""
        self._unanswered.discard(stream.stream_id)

    def next(self) -> MuxStream | None:
        """A stream that waited and may be opened now."""
        while self._waiting and len(self._unanswered) < self._most:
            stream = self._waiting.popleft()
            if stream.unopened:  # not given up meanwhile
                stream.unopened = False
                self._unanswered.add(stream.stream_id)
                return stream
        return None
