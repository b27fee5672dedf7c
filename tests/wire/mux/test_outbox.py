"""Frames joined into messages."""

from __future__ import annotations

from lapdev.wire.mux.frames import JOIN_BYTES, MAX_MESSAGE_BYTES
from lapdev.wire.mux.outbox import Outbox


def test_small_frames_leave_in_one_message_in_order() -> None:
    outbox = Outbox()
    outbox.add(b"a")
    outbox.add(b"b", b"payload")
    outbox.add(b"c")
    assert outbox.messages() == [b"abpayloadc"]


def test_a_message_is_cut_once_it_is_large() -> None:
    outbox = Outbox()
    for _ in range(6):
        outbox.add(b"h", b"x" * 65_536)
    assert [len(message) for message in outbox.messages()] == [4 * 65_537, 2 * 65_537]


def test_no_message_exceeds_the_limit_and_no_frame_is_split() -> None:
    outbox = Outbox()
    outbox.add(b"s" * (JOIN_BYTES - 1))
    outbox.add(b"l" * MAX_MESSAGE_BYTES)
    outbox.add(b"t")
    assert [len(message) for message in outbox.messages()] == [JOIN_BYTES - 1, MAX_MESSAGE_BYTES, 1]


def test_nothing_makes_no_message() -> None:
    assert Outbox().messages() == []
