"""Frames are counted, however the bytes that carry them are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.wire.frame_boundary import GOING_AWAY, FrameBoundary


def frame(size: int, *, opcode: int = 2, masked: bool = False) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask | 127)) + size.to_bytes(8, "big")
    # Payload that looks like frames: nothing of it may be taken for one.
    return head + (b"abcd" if masked else b"") + (b"\x88\x00" * (size // 2 + 1))[:size]


SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70000)


@pytest.mark.parametrize("masked", [False, True])
def test_every_length_of_frame_ends_where_it_ends(masked: bool) -> None:
    boundary = FrameBoundary()
    for size in SIZES:
        whole = frame(size, masked=masked)
        boundary.receive_data(whole[:-1])
        assert not boundary.between
        assert boundary.rest(whole[-1:] + b"next") == 1
        boundary.receive_data(whole[-1:])
        assert boundary.between
    assert not boundary.closed


@given(st.lists(st.sampled_from(SIZES[:6]), max_size=6), st.data())
def test_however_bytes_are_cut_the_boundaries_are_the_same(
    sizes: list[int], data: st.DataObject
) -> None:
    stream = b"".join(frame(size) for size in sizes)
    ends, end = {0}, 0
    for size in sizes:
        end += len(frame(size))
        ends.add(end)
    boundary, at = FrameBoundary(), 0
    while at < len(stream):
        step = data.draw(st.integers(1, max(1, len(stream) // 3)))
        rest = boundary.rest(stream[at : at + step])
        if not boundary.between:
            assert at + rest in ends or at + rest == min(at + step, len(stream))
        boundary.receive_data(stream[at : at + step])
        at = min(at + step, len(stream))
        assert boundary.between == (at in ends)


def test_one_byte_at_a_time_is_the_same() -> None:
    boundary = FrameBoundary()
    whole = frame(300)
    for index in range(len(whole) - 1):
        boundary.receive_data(whole[index : index + 1])
        assert not boundary.between
    boundary.receive_data(whole[-1:])
    assert boundary.between


def test_a_close_frame_is_noticed() -> None:
    boundary = FrameBoundary()
    boundary.receive_data(frame(3))
    assert not boundary.closed
    boundary.receive_data(GOING_AWAY)
    assert boundary.closed
    assert boundary.between
