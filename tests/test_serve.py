from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev import serve
from lapdev.errors import ConfigError, NotReady
from lapdev.settings import settings_of


def test_flags_are_read_in_every_spelling() -> None:
    assert serve.parse_flags("sidecar", ["--launch-fd", "3", "--log-level=debug"]) == {
        "launch_fd": "3",
        "log_level": "debug",
    }
    assert serve.parse_flags("manager", ["--no-isolation"]) == {"isolation": False}
    assert serve.parse_flags("manager", ["--isolation", "--admin="]) == {
        "isolation": True,
        "admin": "",
    }


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--lunch-fd", "3"], "unknown flag --lunch-fd"),
        (["3"], "unknown flag 3"),
        (["--no-launch-fd"], "unknown flag --no-launch-fd"),
        (["--launch-fd"], "flag --launch-fd needs a value"),
        (["--token", "s3cr3t"], "unknown flag --token"),
    ],
)
def test_a_wrong_flag_is_named(argv: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serve.parse_flags("sidecar", argv)
    assert caught.value.detail == problem
    assert "s3cr3t" not in str(caught.value)


def test_every_sidecar_setting_can_be_given_without_click() -> None:
    for item in settings_of(serve.ROLES["sidecar"]):
        assert serve.parse_flags("sidecar", [item.flag, "x"]) == {item.name: "x"}


def test_a_sidecar_starts_without_click() -> None:
    code = (
        "import sys; sys.argv[1:] = ['serve', '--role', 'sidecar', '--bad'];"
        "from lapdev.__main__ import main; code = main(); print('click' in sys.modules, code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False 1\n"
    assert done.stderr.startswith("lapdev: unknown flag --bad: allowed: --launch-fd, ")


def test_an_error_is_told_on_one_line() -> None:
    error = NotReady("a\nb", hint="wait")
    assert serve.error_line(error) == "lapdev: a b: wait"
    assert serve.error_line(NotReady()) == "lapdev: The environment is not ready yet."


def test_uvloop_is_used() -> None:
    factory = serve.loop_factory()
    assert factory is not None
    loop = factory()
    assert type(loop).__module__.startswith("uvloop")
    loop.close()


def test_malloc_is_tuned_without_complaint() -> None:
    serve.tune_malloc()


def test_a_child_without_a_supervisor_lives_alone() -> None:
    serve.die_with_parent({})


def test_a_child_whose_supervisor_is_gone_does_not_start() -> None:
    environ = {serve.PARENT_VARIABLE: "4194304"}
    code = (
        "from lapdev.serve import die_with_parent; from lapdev.errors import ConfigError\n"
        f"try: die_with_parent({environ!r})\n"
        "except ConfigError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "is gone" in done.stdout


def test_a_child_is_killed_with_its_supervisor() -> None:
    child = (
        "import os, signal; from lapdev.serve import die_with_parent; die_with_parent(os.environ);"
        "assert 'LAPDEV_PARENT' not in os.environ;"
        "print('set', flush=True); signal.pause()"
    )
    parent = (
        "import os, subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-c', {child!r}],"
        " env={**os.environ, 'LAPDEV_PARENT': str(os.getpid())}).wait()"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "set\n"
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    # Both held the pipe's writing end: its end of file means the child is dead, too.
    assert supervisor.stdout.read() == ""
    supervisor.stdout.close()


def test_every_role_that_can_be_served_has_settings() -> None:
    assert set(serve.ENTRIES) <= set(serve.ROLES)


def test_standard_descriptors_that_are_closed_are_opened_to_nowhere() -> None:
    code = (
        "import os; from lapdev.__main__ import hold_standard_descriptors;"
        "hold_standard_descriptors(); free = os.dup(0);"
        "os.write(2, f'{free > 2} {os.readlink(\"/proc/self/fd/0\")}'.encode())"
    )
    shell = ["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, code]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stderr == "True /dev/null"


@pytest.mark.parametrize(("ending", "code"), [("", 120), ("give_up_unwritten()", 0)])
def test_a_full_log_does_not_turn_a_good_end_into_a_failure(ending: str, code: int) -> None:
    program = f"""
import contextlib, sys
from lapdev.serve import give_up_unwritten
with contextlib.suppress(OSError):
    print("never written", file=sys.stderr)
{ending}
"""
    # Where PYTHONUNBUFFERED is set, nothing is left to be written at the end.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, stderr=full, env=environ
        )
    assert done.returncode == code
