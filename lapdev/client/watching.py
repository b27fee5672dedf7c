"""Noticing that files changed, by looking at them: no event loop runs in a command.

An application is a handful of files; looking costs microseconds. A file that is still being written
is waited for, so that half of it is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

LOOK_INTERVAL = 0.3
"""Seconds between two looks."""

State = tuple[int, int, int] | None


class Watcher:
    """Some files, and whether they are as they were."""

    def __init__(self, files: Iterable[str]) -> None:
        self._states = _states(files)

    def watch(self, files: Collection[str]) -> None:
        """Looks at these from now on. What changed of those it knows already still counts."""
        self._states = _states(files) | {
            file: state for file, state in self._states.items() if file in files
        }

    def changed(self) -> bool:
        """Any has other content, is gone or has come since `watch`."""
        return any(_state(file) != known for file, known in self._states.items())

    def wait_changed(self, pause: Callable[[float], None]) -> None:
        """Something changed, and nothing did while one more `pause` lasted."""
        while not self.changed():
            pause(LOOK_INTERVAL)
        self.settle(pause)

    def settle(self, pause: Callable[[float], None]) -> None:
        """Whoever writes has finished; the present states are the known ones."""
        before: dict[str, State] | None = None
        while before != self._states:
            before = self._states
            pause(LOOK_INTERVAL)
            self._states = _states(before)


def _states(files: Iterable[str]) -> dict[str, State]:
    return {file: _state(file) for file in files}


def _state(file: str) -> State:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
