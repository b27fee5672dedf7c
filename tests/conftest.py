"""What holds for every test: nothing left behind, and one line about skips."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop

TEST_TIMEOUT = 60.0
"""Seconds an asynchronous test may take. pytest-timeout's alarm does not reach a waiting uvloop,
and its thread ends the whole run: it is left for what blocks the loop."""

ENDING_TIMEOUT = 0.2
"""Seconds in which tasks that the end of a test has ended may be over."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that serves: its transports differ from asyncio's in small ways."""
    if os.environ.get("LAPDEV_TEST_LOOP") == "asyncio":
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


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
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left_behind")
    # From here on: the event loop, which now exists, has sockets of its own.
    sockets, children = set(_open_sockets().values()), _children()
    yield
    left_children = _children() - children
    left_sockets = set(_open_sockets().values()) - sockets
    if left_sockets:
        # A socket that only a reference cycle holds is not left behind; one somebody owns is.
        gc.collect()
        left_sockets = set(_open_sockets().values()) - sockets
    left = [f"socket {name}" for name in sorted(left_sockets)]
    left += [f"child process {pid}" for pid in sorted(left_children)]
    assert not left, "left behind: " + ", ".join(left)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """No test's log level or stream is the next one's."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    """Looks while the loop still runs: closing it cancels what is left, and hides it."""
    deadline = asyncio.get_running_loop().call_later(TEST_TIMEOUT, _give_up)
    yield
    deadline.cancel()
    left = asyncio.all_tasks() - _current()
    if left:  # what the test's last lines cancelled or answered may end now
        _, left = await asyncio.wait(left, timeout=ENDING_TIMEOUT)
    names = sorted(f"task {task.get_name()}" for task in left)
    assert not names, "left behind: " + ", ".join(names)


def _give_up() -> None:
    for task in asyncio.all_tasks():
        task.cancel(f"the test took longer than {TEST_TIMEOUT:.0f} seconds")


def _current() -> set[asyncio.Task[Any]]:
    task = asyncio.current_task()
    return set() if task is None else {task}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line names everything that was skipped, and why."""
    reasons = set()
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.add(text.removeprefix("Skipped: ").removeprefix("needs "))
    if reasons:
        terminalreporter.write_line("skipped here: " + "; ".join(sorted(reasons)))
