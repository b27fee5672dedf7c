"""One budget of windows for all tunnels of a process."""

from __future__ import annotations

from lapdev.net.memory_limit import memory_limit
from lapdev.tunnel.memory import process_budget


def test_a_quarter_of_the_memory_is_for_windows_and_counted_once() -> None:
    budget = process_budget()
    assert budget.cap_bytes == memory_limit() // 4
    assert process_budget() is budget
