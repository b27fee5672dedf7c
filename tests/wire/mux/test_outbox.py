"""Frames joined into messages."""

from __future__ import annotations

from lapdev.wire.mux.frames import JOIN_BYTES, LARGE_BYTES, MAX_MESSAGE_BYTES
from lapdev.wire.mux.outbox import Outbox


def sizes(outbox: Outbox) -> list[int]:
    return [len(head) + len(payload) for head, payload in outbox.messages()]


def test_small_frames_leave_in_one_message_in_order() -> None:
    outbox = Outbox()
    outbox.add(b"a")
    outbox.add(b"b", b"payload")
    outbox.add(b"c")
    assert outbox.messages() == [(b"abpayloadc", b"")]


def test_a_large_payload_ends_its_message_and_is_not_copied() -> None:
    outbox = Outbox()
    payload = b"x" * (LARGE_BYTES + 1)
    outbox.add(b"a")
    outbox.add(b"h", payload)
    outbox.add(b"c")
    messages = outbox.messages()
    assert messages == [(b"ah", payload), (b"c", b"")]
    assert messages[0][1] is payload


def test_a_message_is_cut_once_it_is_large() -> None:
    outbox = Outbox()
    for _ in range(20):
        outbox.add(b"h" * 4, b"x" * LARGE_BYTES)
    assert sizes(outbox) == [16 * (LARGE_BYTES + 4), 4 * (LARGE_BYTES + 4)]


def test_no_message_exceeds_the_limit_and_no_frame_is_split() -> None:
    outbox = Outbox()
    outbox.add(b"s" * (JOIN_BYTES - 1))
    outbox.add(b"l" * MAX_MESSAGE_BYTES)
    outbox.add(b"t")
    assert sizes(outbox) == [JOIN_BYTES - 1, MAX_MESSAGE_BYTES, 1]


def test_nothing_makes_no_message() -> None:
    assert Outbox().messages() == []
