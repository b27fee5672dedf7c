from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lapdev.demo.checks.processes import descendants, is_alive, sidecar_beside
from lapdev.errors import ClusterError

# A parent whose child listens and waits on its standard input, named as the word says.
FAMILY = """
import subprocess, sys
code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", code, sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process and its child."""
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY, "sidecar"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "VERSION": "v2"},
    )
    assert process.stdout is not None
    yield process.pid, int(process.stdout.readline())
    process.communicate(b"\n", timeout=10)


def test_descendants_are_all_that_live_below(family: tuple[int, int]) -> None:
    parent, child = family
    assert descendants(parent) == {child}
    assert {parent, child} <= descendants(os.getpid())


def test_an_ended_process_is_not_alive_even_before_it_is_reaped() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process.pid)
    process.wait()
    assert not is_alive(process.pid)
    assert is_alive(os.getpid())


def test_the_sidecar_of_a_pod_is_found_by_the_program_it_stands_beside(
    family: tuple[int, int],
) -> None:
    assert sidecar_beside(family[0], "sidecar", "v2") == family[1]
    with pytest.raises(ClusterError, match=r"no sidecar beside api\.py v2"):
        sidecar_beside(family[0], "api.py", "v2")
    with pytest.raises(ClusterError, match="no sidecar beside sidecar v3"):
        sidecar_beside(family[0], "sidecar", "v3")
