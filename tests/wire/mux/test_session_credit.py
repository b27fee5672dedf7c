"""Credit of a whole session."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux.session_credit import SessionCredit


def test_row_61_a_peer_beyond_the_sessions_limit_is_refused() -> None:
    credit = SessionCredit(100)
    credit.receive(100)
    with pytest.raises(RemoteProtocolError, match="flow control"):
        credit.receive(1)


def test_the_limit_grows_with_what_was_consumed() -> None:
    credit = SessionCredit(80)
    credit.receive(40)
    credit.consumed = 9
    assert not credit.credit_due
    credit.consumed = 10
    assert credit.credit_due
    credit.grant()
    assert credit.receive_limit == 90
    assert not credit.credit_due


def test_a_peer_cannot_have_consumed_what_was_not_sent() -> None:
    credit = SessionCredit(100)
    credit.sent = 10
    credit.credit(10, 110)
    assert credit.send_limit == 110
    credit.credit(10, 50)
    assert credit.send_limit == 110, "a limit is never taken back"
    with pytest.raises(RemoteProtocolError):
        credit.credit(11, 200)


def test_what_was_lost_with_a_connection_is_taken_back() -> None:
    credit = SessionCredit(100)
    credit.sent = 60
    credit.take_back(35)
    assert (credit.sent, credit.send_limit) == (25, 100)
