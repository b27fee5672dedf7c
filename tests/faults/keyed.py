"""Keyed bodies: the name of a stream and the offset decide every byte.

A byte that is wrong, doubled, missing or of another stream cannot go unnoticed: nothing repeats.
"""

from __future__ import annotations

import hashlib

BLOCK_BYTES = 16_384


def block(name: str, index: int) -> bytes:
    """The bytes of stream `name` from offset `index` * BLOCK_BYTES on."""
    return hashlib.shake_128(f"{index}:{name}".encode()).digest(BLOCK_BYTES)


def keyed(name: str, offset: int, size: int) -> bytes:
    """`size` bytes of stream `name` from `offset` on."""
    first, skipped = divmod(offset, BLOCK_BYTES)
    last = (offset + size - 1) // BLOCK_BYTES
    blocks = b"".join(block(name, index) for index in range(first, last + 1))
    return blocks[skipped : skipped + size]


class KeyedReader:
    """Compares what comes of one stream, in pieces of any size, with what must come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset = 0
        """Bytes taken so far."""
        self.wrong_at = -1
        """Where the first byte was that is not the stream's own; -1: nowhere."""
        self._block = b""
        self._index = -1

    def feed(self, data: bytes) -> None:
        """Takes the next bytes. After the first wrong one nothing is compared any more."""
        position = 0
        while position < len(data) and self.wrong_at < 0:
            index, start = divmod(self.offset, BLOCK_BYTES)
            if index != self._index:
                self._block, self._index = block(self.name, index), index
            piece = data[position : position + BLOCK_BYTES - start]
            wanted = self._block[start : start + len(piece)]
            if piece != wanted:
                same = next(
                    i for i, pair in enumerate(zip(piece, wanted, strict=True)) if len({*pair}) > 1
                )
                self.wrong_at = self.offset + same
            position += len(piece)
            self.offset += len(piece)
