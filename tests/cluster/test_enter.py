"""What stands in front of every process of a pod."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev.cluster import enter
from lapdev.cluster.spawner import ENTER_SCRIPT


def run(*command: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-S", ENTER_SCRIPT, "process", "-1", "", cwd, *command]
    env = {"PATH": os.defpath}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=20, check=False)


def test_it_becomes_the_command_in_its_folder(tmp_path: Path) -> None:
    done = run("sh", "-c", "pwd; exit 3", cwd=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, f"{tmp_path}\n")


def test_signals_are_as_a_fresh_program_expects_them() -> None:
    done = run("sh", "-c", "grep SigIgn /proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    sigpipe, sigxfsz = 1 << 12, 1 << 24
    assert ignored & (sigpipe | sigxfsz) == 0


def test_no_program_gains_privileges() -> None:
    assert run("grep", "NoNewPrivs", "/proc/self/status").stdout.split() == ["NoNewPrivs:", "1"]


@pytest.mark.parametrize(
    ("command", "cwd", "status", "complaint"),
    [
        ("/no/such/program", "/", enter.NOT_FOUND, "lapdev: /no/such/program: not found"),
        ("no-such-program", "/", enter.NOT_FOUND, "no-such-program: not found"),
        ("true", "/no/such/folder", enter.NOT_FOUND, "/no/such/folder: not found"),
        ("/etc", "/", enter.NOT_STARTED, "lapdev: cannot start /etc: "),
    ],
)
def test_what_cannot_start_says_why(command: str, cwd: str, status: int, complaint: str) -> None:
    done = run(command, cwd=cwd)
    assert done.returncode == status
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["enter", "pause"])
def test_the_scripts_load_nothing_slow(script: str) -> None:
    """A container's start waits for these imports; the cluster room's door has to stay empty."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(ENTER_SCRIPT).parents[2])!r});"
        f"import lapdev.cluster.{script};"
        "print(*sorted(name for name in sys.modules if name.startswith('lapdev')));"
        "print(*({'asyncio', 'typing_extensions', 'subprocess', 'logging'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    ours, slow = done.stdout.splitlines()
    allowed = {"lapdev", "lapdev.cluster", "lapdev.cluster.syscalls", "lapdev.cluster.interfaces"}
    assert set(ours.split()) - {f"lapdev.cluster.{script}"} <= allowed
    assert slow == ""
