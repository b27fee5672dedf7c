"""Which stream ids the peer has used. They grow per link, and links overtake each other."""

from __future__ import annotations

from bisect import bisect_right

from lapdev.wire.mux.frames import MAX_MISSING_RANGES

Range = tuple[int, int]


class SeenIds:
    """The highest id, and the ranges below it that were skipped and may still come."""

    __slots__ = ("highest", "missing")

    def __init__(self) -> None:
        self.highest = 0
        self.missing: list[Range] = []
        """Ascending; first and last of each, all of one parity."""

    def take(self, stream_id: int) -> bool:
        """The id is used now. False if it was used before: two streams would become one."""
        if stream_id > self.highest:
            first = self.highest + 2 if self.highest else 2 - stream_id % 2
            if stream_id > first:
                self.missing.append((first, stream_id - 2))
            self.highest = stream_id
            self._bound()
            return True
        at = bisect_right(self.missing, (stream_id, self.highest)) - 1
        if at < 0:
            return False
        first, last = self.missing[at]
        if stream_id > last:
            return False
        left, right = (first, stream_id - 2), (stream_id + 2, last)
        self.missing[at : at + 1] = [part for part in (left, right) if part[0] <= part[1]]
        self._bound()
        return True

    def _bound(self) -> None:
        # Ids that are skipped for good (reset before they were ever sent) would pile up.
        if len(self.missing) > MAX_MISSING_RANGES:
            del self.missing[:-MAX_MISSING_RANGES]


def is_unseen(stream_id: int, highest: int, missing: list[Range]) -> bool:
    """Whether an end that reports this has never seen the id."""
    if stream_id > highest:
        return True
    at = bisect_right(missing, (stream_id, highest)) - 1
    return at >= 0 and stream_id <= missing[at][1]
