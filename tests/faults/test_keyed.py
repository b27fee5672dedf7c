"""Bodies whose every byte is known."""

from __future__ import annotations

import random

import pytest

from tests.faults.keyed import BLOCK_BYTES, KeyedReader, keyed

SIZE = 3 * BLOCK_BYTES + 17


def read(name: str, data: bytes, pieces: int = 1) -> KeyedReader:
    check = KeyedReader(name)
    for start in range(0, len(data), pieces):
        check.feed(data[start : start + pieces])
    return check


@pytest.mark.parametrize("offset", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 5])
def test_a_piece_is_the_same_wherever_it_is_cut(offset: int) -> None:
    assert keyed("a", offset, 40_000) == keyed("a", 0, SIZE + 40_000)[offset : offset + 40_000]


@pytest.mark.parametrize("pieces", [7, 1_000, BLOCK_BYTES, SIZE])
def test_the_right_bytes_in_pieces_of_any_size_are_right(pieces: int) -> None:
    check = read("a", keyed("a", 0, SIZE), pieces)
    assert (check.offset, check.wrong_at) == (SIZE, -1)


def test_one_changed_byte_is_found_where_it_is() -> None:
    chance = random.Random(3)
    for _ in range(20):
        at = chance.randrange(SIZE)
        data = bytearray(keyed("a", 0, SIZE))
        data[at] ^= 1 << chance.randrange(8)
        assert read("a", bytes(data), 5_000).wrong_at == at


@pytest.mark.parametrize(
    "data",
    [
        keyed("b", 0, SIZE),
        keyed("a", 1, SIZE),
        keyed("a", BLOCK_BYTES, SIZE),
        keyed("a", 0, BLOCK_BYTES) * 2,
    ],
    ids=["of another stream", "a byte missing", "a block missing", "a block doubled"],
)
def test_bytes_of_another_place_are_wrong(data: bytes) -> None:
    assert read("a", data).wrong_at >= 0
