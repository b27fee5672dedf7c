"""How much the windows of all tunnels of this process may promise to keep."""

from __future__ import annotations

from functools import lru_cache

from lapdev.net.memory_limit import memory_limit
from lapdev.wire.mux import WindowBudget

SHARE = 4
"""A quarter of the memory this process may use; the least windows are granted beyond it too."""


@lru_cache(maxsize=1)
def process_budget() -> WindowBudget:
    """The one budget of this process."""
    return WindowBudget(memory_limit() // SHARE)
