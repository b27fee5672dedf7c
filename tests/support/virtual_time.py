"""A loop whose clock jumps to the next timer whenever nothing else is left to do.

For code that only waits: an hour of probes takes a moment, and every pause is exact.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never waits for a timer: says how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0 if timeout is not None else 5)
        if not ready:
            assert timeout is not None, "everything waits, and for nothing"
            self.skipped += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0. For code without processes, threads or files."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.skipped


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `main()` returns, run by a clock of its own."""
    with asyncio.Runner(debug=True, loop_factory=VirtualLoop) as runner:
        return runner.run(main())
