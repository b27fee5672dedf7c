"""One budget for all windows of a process."""

from __future__ import annotations

from lapdev.wire.mux import MuxOptions, WindowBudget
from tests.support.pair import Pair

TARGET = {"kind": "x"}


def test_a_budget_grants_up_to_its_cap() -> None:
    budget = WindowBudget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    budget.give(50)
    assert budget.take(50)
    assert WindowBudget().take(10**15), "no cap"


def test_two_sessions_that_nobody_reads_hold_their_first_windows_and_the_budget_together() -> None:
    options = MuxOptions(session_window=1_000_000, max_session_window=8_000_000)
    budget = WindowBudget(3_000_000)
    pairs = [Pair(options, budget) for _ in range(2)]
    for pair in pairs:
        pair.acceptor.reading = False
        for _ in range(40):
            pair.dialler.mux.write(pair.dialler.mux.open(TARGET), bytes(262_144))
        pair.settle()
    held = [pair.acceptor.mux.session.held for pair in pairs]
    assert 2_000_000 < sum(held) <= 2 * 1_000_000 + 3_000_000
    assert min(held) >= 1_000_000
    for pair in pairs:
        pair.acceptor.reading = True
        pair.acceptor.consume_held()
        pair.settle()
        assert sum(map(len, pair.acceptor.received.values())) == 40 * 262_144, "nothing is dropped"
        pair.acceptor.mux.close()
    assert budget.used_bytes == 0
