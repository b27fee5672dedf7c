"""How much all windows of a process together may promise to keep.

Every session of a process shares one. Whoever wants to let a peer send more than the least asks
here first; nothing is ever taken away, windows just stay or shrink.
"""

from __future__ import annotations


class WindowBudget:
    """A counter of bytes. Without a cap everything is granted."""

    __slots__ = ("cap_bytes", "used_bytes")

    def __init__(self, cap_bytes: int = 0) -> None:
        self.cap_bytes = cap_bytes
        """0: no cap."""
        self.used_bytes = 0

    def take(self, size: int) -> bool:
        """Whether `size` more bytes may be promised; they are counted if so."""
        if self.cap_bytes and self.used_bytes + size > self.cap_bytes:
            return False
        self.used_bytes += size
        return True

    def give(self, size: int) -> None:
        """So many bytes are promised no longer."""
        self.used_bytes -= size
