"""The system calls that Python 3.11 has no name for: namespaces, mounts, prctl.

Imported by `enter` and `pause`, whose start is on every container's way: it may import nothing
that is slow, and nothing of lapdev.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEW_NS = 0x00020000
NEW_UTS = 0x04000000
NEW_IPC = 0x08000000
NEW_USER = 0x10000000
NEW_PID = 0x20000000
NEW_NET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """This thread (with NEW_USER: this single-threaded process) is in new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """This thread has joined the namespaces `flags` of a process, given by a pidfd (Linux 5.8)."""
    _check(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    encoded = (source.encode(), target.encode(), kind.encode() or None)
    result = _libc.mount(*encoded, ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {target}")


def die_with_parent(signal_number: int = 9) -> None:
    """The kernel sends this process the signal when the thread that started it ends.

    A later change of credentials takes it back; so it comes after them.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PDEATHSIG")


def give_up_new_privileges() -> None:
    """No program started from here gains rights by set-user-ID or file capabilities."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def map_own_ids(inside: int, uid: int, gid: int) -> None:
    """In a user namespace just entered, this user's outer `uid` and `gid` appear as `inside`."""
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{inside} {uid} 1")
    (process / "gid_map").write_text(f"{inside} {gid} 1")
