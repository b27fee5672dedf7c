"""What holds for every test: nothing left behind, and one line about skips."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest


def _open_sockets() -> dict[str, str]:
    """Socket inodes this process holds, by descriptor."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            link = str(entry.readlink())
        except OSError:
            continue  # the descriptor the listing itself used
        if link.startswith("socket:"):
            found[entry.name] = link
    return found


def _children() -> set[int]:
    pids: set[int] = set()
    for entry in Path("/proc/self/task").iterdir():
        try:
            pids.update(int(pid) for pid in (entry / "children").read_text().split())
        except OSError:
            continue  # the thread ended meanwhile
    return pids


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves a task, a socket or a child process."""
    from lapdev.net import tasks

    sockets, children = set(_open_sockets().values()), _children()
    yield
    left = [f"task {task.get_name()!r}" for task in tasks._running if not task.done()]
    left_children = _children() - children
    left_sockets = set(_open_sockets().values()) - sockets
    if left_sockets:
        # A socket that only a reference cycle holds is not left behind; one somebody owns is.
        gc.collect()
        left_sockets = set(_open_sockets().values()) - sockets
    tasks._running.clear()
    left += [f"socket {name}" for name in sorted(left_sockets)]
    left += [f"child process {pid}" for pid in sorted(left_children)]
    assert not left, "left behind: " + ", ".join(left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line names everything that was skipped, and why."""
    reasons = set()
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.add(text.removeprefix("Skipped: ").removeprefix("needs "))
    if reasons:
        terminalreporter.write_line("skipped here: " + "; ".join(sorted(reasons)))
