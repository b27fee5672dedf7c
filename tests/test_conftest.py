"""The guard of every test, tested: a test that leaves something behind fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import PROJECT

CASES = {
    "task": """
import asyncio
from lapdev.net.tasks import spawn
async def test_leaves():
    spawn(asyncio.Event().wait(), "forgotten")
""",
    "socket": """
import socket
kept = []
def test_leaves():
    kept.append(socket.socket())
""",
    "child process": """
import subprocess
kept = []
def test_leaves():
    kept.append(subprocess.Popen(["sleep", "5"]))
    kept.append(kept[0].kill())
""",
}


def run_pytest(
    folder: Path, text: str, extra: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """pytest on one file, under our conftest followed by `extra`."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n" + extra)
    (folder / "test_case.py").write_text(text)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    argv += [f"--rootdir={folder}", f"--confcutdir={folder}", "-c", str(PROJECT / "pyproject.toml")]
    return subprocess.run(
        [*argv, str(folder / "test_case.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **env},
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted(CASES))
def test_what_a_test_leaves_behind_fails_it(tmp_path: Path, what: str) -> None:
    done = run_pytest(tmp_path, CASES[what])
    assert done.returncode == 1, done.stdout
    assert f"left behind: {what} " in done.stdout


@pytest.mark.slow
def test_an_endless_test_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    text = (
        "import asyncio\n"
        "async def test_endless():\n    await asyncio.Event().wait()\n"
        "async def test_after():\n    pass\n"
    )
    done = run_pytest(tmp_path, text, "import tests.conftest as c; c.TEST_TIMEOUT = 0.5\n")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "the test took longer than" in done.stdout


@pytest.mark.slow
def test_a_missing_need_is_skipped_by_name_and_fails_the_gate(tmp_path: Path) -> None:
    text = "from tests.support import needs\ndef test_it():\n    needs.tool('no-such-tool')\n"
    done = run_pytest(tmp_path, text, CI="")
    assert done.returncode == 0
    assert "skipped here: tool no-such-tool: not installed\n" in done.stdout
    gate = run_pytest(tmp_path, text, CI="true")
    assert gate.returncode == 1
    assert "CI=true and missing: tool no-such-tool" in gate.stdout
