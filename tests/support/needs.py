"""What a test needs from the machine: there, or the test is skipped by name.

On a developer's machine a missing tool skips the test and the run's last line lists it. With
CI=true it is a failure: a gate that skips is no gate.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def corpus(name: str) -> Path:
    """The folder of one corpus, under LAPDEV_CORPORA (default: ../shared/corpora)."""
    root = os.environ.get("LAPDEV_CORPORA") or str(PROJECT.parent / "shared" / "corpora")
    folder = Path(root) / name
    if not folder.is_dir():
        _missing(f"corpus {name}: no folder {folder} (set LAPDEV_CORPORA)")
    return folder


def tool(name: str) -> Path:
    """The path of a program."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        _missing(f"tool {name}: not installed")
    return Path(found)


def module(name: str) -> None:
    """An importable Python package that is not a dependency of the product."""
    import importlib.util

    if importlib.util.find_spec(name) is None:
        _missing(f"module {name}: not installed")


def userns() -> None:
    """This user may create user, network and mount namespaces."""
    problem = _userns_problem()
    if problem:
        _missing(f"user namespaces: {problem}")


def cgroups() -> None:
    """This process may limit its children's memory and CPU time."""
    from lapdev.cluster.cgroups import find

    problem = find().explain()
    if problem:
        _missing(problem)


def cgroup_tree() -> Path:
    """A cgroup of version 2 in which groups can be made."""
    from lapdev.cluster.cgroups import _mounts

    place = _mounts(Path("/proc/self")).get("")
    if place is None or not os.access(place.point, os.W_OK):
        _missing("a cgroup2 file system that may be written")
    return place.point


def root() -> None:
    """Tests run as root."""
    if os.geteuid() != 0:
        _missing("root: not running as root")


def packet_path() -> None:
    """`tests.support.packet_path` works, from a test that enters its ends."""
    root()
    tool("nsenter")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        _missing("/dev/net/tun")


@functools.cache
def _userns_problem() -> str:
    # In a child: entering a namespace cannot be undone, and needs a single thread.
    flags = 0x10000000 | 0x40000000 | 0x00020000  # CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS
    code = (
        "import ctypes,os;"
        "libc=ctypes.CDLL(None,use_errno=True);"
        f"r=libc.unshare({flags});"
        "print('' if r==0 else os.strerror(ctypes.get_errno()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.strip() or done.stderr.strip()


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true and missing: {what}", pytrace=False)
    pytest.skip(f"needs {what}")
