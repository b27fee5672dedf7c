"""Streams of ours that the peer has not answered yet. It refuses more than so many at a time: the
next ones wait here, so that a burst of visitors is late instead of turned away.

Half of the room is the most that streams to one target take: what hangs holds up itself only.
"""

from __future__ import annotations

from collections import deque

from lapdev.wire.mux.stream import MuxStream


class Openings:
    __slots__ = ("_counts", "_most", "_turns", "_unanswered", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._unanswered: dict[int, str] = {}
        """Stream id → target."""
        self._counts: dict[str, int] = {}
        """Target → how many of them."""
        self._waiting: dict[str, deque[MuxStream]] = {}
        """By target, in the order they were made."""
        self._turns: deque[str] = deque()
        """Targets for which streams wait, and which may have the next one."""

    def begin(self, stream: MuxStream, target: str) -> bool:
        """Whether it may be opened now; else `next` names it in its turn."""
        if target not in self._waiting and not self._turns and self._has_room(target):
            self._take(stream, target)
            return True
        stream.unopened = True
        waiting = self._waiting.setdefault(target, deque())
        if not waiting and self._counts.get(target, 0) < self._share:
            self._turns.append(target)
        waiting.append(stream)
        return False

    def answered(self, stream: MuxStream) -> None:
        """Accepted, refused, or given up: the peer waits for no answer of its own any more."""
        target = self._unanswered.pop(stream.stream_id, None)
        if target is None:
            return
        left = self._counts[target] - 1
        if left:
            self._counts[target] = left
        else:
            del self._counts[target]
        if left == self._share - 1 and target in self._waiting:
            self._turns.append(target)

    def next(self) -> MuxStream | None:
        """A stream that waited and may be opened now. Targets take turns."""
        while self._turns and len(self._unanswered) < self._most:
            target = self._turns.popleft()
            stream = self._pop(target)
            if stream is None:
                continue
            self._take(stream, target)
            if target in self._waiting and self._counts[target] < self._share:
                self._turns.append(target)
            return stream
        return None

    @property
    def _share(self) -> int:
        return max(self._most // 2, 1)

    def _has_room(self, target: str) -> bool:
        return len(self._unanswered) < self._most and self._counts.get(target, 0) < self._share

    def _take(self, stream: MuxStream, target: str) -> None:
        stream.unopened = False
        self._unanswered[stream.stream_id] = target
        self._counts[target] = self._counts.get(target, 0) + 1

    def _pop(self, target: str) -> MuxStream | None:
        """The first of those that wait and were not given up meanwhile."""
        waiting = self._waiting[target]
        found = None
        while waiting and found is None:
            stream = waiting.popleft()
            found = stream if stream.unopened else None
        if not waiting:
            del self._waiting[target]
        return found
