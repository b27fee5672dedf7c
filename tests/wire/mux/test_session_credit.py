"""Credit of a whole session."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux.session_credit import SessionCredit
from lapdev.wire.mux.window_budget import WindowBudget


def credit_of(
    first: int = 100, most: int = 100, budget: WindowBudget | None = None
) -> SessionCredit:
    return SessionCredit(first, most, budget or WindowBudget())


def test_row_61_a_peer_beyond_the_sessions_limit_is_refused() -> None:
    credit = credit_of()
    credit.receive(100)
    with pytest.raises(RemoteProtocolError, match="flow control"):
        credit.receive(1)


def test_the_limit_grows_with_what_was_consumed_once_the_most_is_held() -> None:
    credit = credit_of(80, 80)
    credit.receive(40)
    credit.consumed = 9
    assert not credit.credit_due
    credit.consumed = 10
    assert credit.credit_due
    credit.grant()
    assert credit.receive_limit == 90
    assert not credit.credit_due


def test_bytes_nobody_reads_do_not_stop_the_others_before_the_most_is_held() -> None:
    credit = credit_of(100, 350)
    for limit in (200, 300, 350, 350):
        credit.receive(credit.receive_limit - credit.received)
        credit.grant()
        assert credit.receive_limit == limit
    credit.consumed = 30
    credit.grant()
    assert credit.receive_limit == 380


def test_the_headroom_follows_the_rate_and_comes_back() -> None:
    credit = credit_of(1_000, 1_000_000)
    credit.measure(0.0, 0.1)
    for step in range(1, 12):  # 20,000 bytes in each round trip
        credit.receive_limit = credit.received = credit.consumed = step * 20_000
        credit.measure(step * 0.1, 0.1)
    assert 39_990 <= credit.headroom <= 40_000
    for step in range(12, 24):
        credit.received += 1
        credit.measure(step * 1.0, 0.1)
    credit.received += 10_000
    credit.measure(24.0, 0.1)
    assert credit.headroom <= 2_000


def test_what_is_promised_beyond_the_first_is_in_the_budget_of_the_process() -> None:
    budget = WindowBudget(150)
    one, other = credit_of(100, 400, budget), credit_of(100, 400, budget)
    for credit in (one, other):
        credit.receive(100)
        credit.grant()
    assert (one.receive_limit, other.receive_limit) == (200, 100), "the second has to do with less"
    assert budget.used_bytes == 100
    one.consumed = other.consumed = 100
    one.grant()
    other.grant()
    assert (one.receive_limit, other.receive_limit) == (200, 200)
    assert budget.used_bytes == 0
    other.receive(100)
    other.grant()
    assert other.receive_limit == 300
    other.close()
    assert budget.used_bytes == 0


def test_a_peer_cannot_have_consumed_what_was_not_sent() -> None:
    credit = credit_of()
    credit.sent = 10
    credit.credit(10, 110)
    assert credit.send_limit == 110
    credit.credit(10, 50)
    assert credit.send_limit == 110, "a limit is never taken back"
    with pytest.raises(RemoteProtocolError):
        credit.credit(11, 200)


def test_what_was_lost_with_a_connection_is_taken_back() -> None:
    credit = credit_of()
    credit.sent = 60
    credit.take_back(35)
    assert (credit.sent, credit.send_limit) == (25, 100)
