"""Calls and their replies, repeated or not."""

from __future__ import annotations

import pytest

from lapdev.errors import LocalProtocolError, RemoteProtocolError
from lapdev.wire.mux.calls import MAX_CALLS, Calls
from lapdev.wire.mux.frames import decode


def test_a_call_is_kept_until_its_reply() -> None:
    calls = Calls()
    first, frame = calls.start("A", {"x": 1})
    second, _ = calls.start("B", {})
    assert decode(frame) == [[10, first, "A", {"x": 1}]]
    assert [decode(one)[0][1] for one in calls.unanswered()] == [first, second]
    assert calls.reply_received(first)
    assert not calls.reply_received(first), "a second reply is nobody's"
    calls.forget(second)
    assert calls.unanswered() == []


def test_a_repeated_call_is_not_begun_twice_but_may_be_repeated_after_it_was_served() -> None:
    calls = Calls()
    assert calls.call_received(1, 0)
    assert not calls.call_received(1, 0)
    calls.served(1)
    assert calls.call_received(1, 0)


def test_nobody_gets_more_than_so_many_calls_unanswered() -> None:
    calls = Calls()
    for call_id in range(1, MAX_CALLS + 1):
        calls.start("A", {})
        calls.call_received(call_id, 0)
    with pytest.raises(LocalProtocolError):
        calls.start("A", {})
    with pytest.raises(RemoteProtocolError):
        calls.call_received(MAX_CALLS + 1, 0)


def test_a_call_that_cannot_be_encoded_takes_no_id() -> None:
    calls = Calls()
    with pytest.raises(LocalProtocolError):
        calls.start("A", {"x": object()})
    assert calls.start("A", {})[0] == 1
    assert len(calls.unanswered()) == 1
