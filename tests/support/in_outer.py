"""Runs an async test function in a process that has entered the manager's namespaces.

Entering cannot be undone and needs a single thread, so pytest itself must not. A test marked with
`@in_outer` runs in a child, `python -m tests.support.in_outer MODULE FUNCTION ARGUMENT…`, gets a
folder of its own, and fails with what the child printed.
"""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support import needs

TIMEOUT = 60.0


def run_in_outer(module: str, function: str, *arguments: str) -> None:
    """`await module.function(runtime_dir, *arguments)` passes there. Fails as a test fails."""
    needs.userns()
    command = [sys.executable, "-W", "error", "-X", "dev", "-m", __name__, module, function]
    done = subprocess.run(
        [*command, *arguments],
        cwd=needs.PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout


def in_outer(function: Callable[[Path], Awaitable[None]]) -> Callable[[], None]:
    """The async test function as one that pytest runs, in namespaces."""

    def test() -> None:
        run_in_outer(function.__module__, function.__name__)

    test.__name__, test.__doc__ = function.__name__, function.__doc__
    vars(test)["inner"] = function
    marked: Callable[[], None] = pytest.mark.slow(test)
    return marked


def main(module: str, function: str, *arguments: str) -> None:
    from lapdev.cluster.namespaces import enter_outer
    from lapdev.serve import loop_factory

    enter_outer()
    test = getattr(importlib.import_module(module), function)
    test = getattr(test, "inner", test)
    with (
        tempfile.TemporaryDirectory(prefix="lapdev-test-") as folder,
        # The loop that the manager runs on.
        asyncio.Runner(debug=True, loop_factory=loop_factory()) as runner,
    ):
        runner.run(test(Path(folder), *arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
