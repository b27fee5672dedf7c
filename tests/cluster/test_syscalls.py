"""System calls without a name in Python 3.11."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from lapdev.cluster import syscalls


def test_a_refused_call_raises_with_its_errno() -> None:
    with pytest.raises(OSError, match="setns: Bad file descriptor") as caught:
        syscalls.setns(-1, syscalls.NEW_NET)
    assert caught.value.errno == errno.EBADF


def test_a_mount_names_its_target() -> None:
    with pytest.raises(OSError, match="mount /no/such/target: "):
        syscalls.mount("none", "/no/such/target", "tmpfs")


CHILD = """
import os, sys, time
from lapdev.cluster import syscalls
if os.fork() == 0:
    syscalls.die_with_parent()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(1000)
time.sleep(1000)
"""


def test_a_child_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        import select

        poll = select.poll()
        poll.register(child, select.POLLIN)
        assert poll.poll(5000)
        os.close(child)


def test_a_thread_has_the_name_it_was_given() -> None:
    program = "from lapdev.cluster import syscalls; syscalls.set_name('one-two');" + (
        "print(open('/proc/self/comm').read(), end='')"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "one-two\n"
