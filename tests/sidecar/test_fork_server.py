"""The fork server alone, at its socket: what `tests/cluster/test_sidecar_forks.py` cannot reach."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ARGV = [sys.executable, "-P", "-m", "lapdev", "serve", "--role", "sidecar", "--fork-fd"]


def test_it_ends_when_the_other_end_of_its_socket_is_gone() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = theirs.fileno()
    process = subprocess.Popen([*ARGV, str(fd)], pass_fds=(fd,), stdin=subprocess.DEVNULL)
    theirs.close()
    ours.close()
    assert process.wait(20) == 0


def test_what_is_no_socket_is_an_error_of_one_line() -> None:
    done = subprocess.run(
        [*ARGV, "0"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("lapdev: fork_fd 0 is no socket")
    assert len(done.stderr.splitlines()) == 1
