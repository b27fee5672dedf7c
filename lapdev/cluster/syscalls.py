"""The system calls that Python 3.11 has no name for: namespaces, mounts, prctl.

Imported by `enter` and `pause`, whose start is on every container's way: it may import nothing
that is slow, and nothing of lapdev.
"""

from __future__ import annotations

import ctypes
import os

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

MNT_DETACH = 2

# Calls that older C libraries have no name for; from 424 on, numbers are the same everywhere.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_OPENAT2 = 437
_MOUNT_SETATTR = 442

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY = 1
_RESOLVE_NO_MAGICLINKS = 2
_RESOLVE_NO_SYMLINKS = 4
_RESOLVE_BENEATH = 8

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
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


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc.umount2(target.encode(), flags), f"unmount {target}")


def open_tree(path: str) -> int:
    """A descriptor of a mount of its own that shows `path` and all mounted below (Linux 5.2).

    It can be attached in another mount namespace, by `move_mount`; else it goes when it is closed.
    """
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    encoded = path.encode(errors="surrogateescape")
    fd: int = _libc.syscall(_OPEN_TREE, _AT_FDCWD, encoded, ctypes.c_uint(flags))
    _check(fd, f"open {path}")
    return fd


def make_read_only(tree: int) -> None:
    """Nothing is written through a tree that `open_tree` gave (Linux 5.12)."""
    # struct mount_attr: set, clear, propagation, userns.
    wanted = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    size = ctypes.sizeof(wanted)
    _check(_libc.syscall(_MOUNT_SETATTR, tree, b"", flags, wanted, size), "mount_setattr")


def move_mount(tree: int, target: str) -> None:
    """What `open_tree` gave is mounted at `target`, which is a folder if the tree's root is one."""
    encoded = target.encode(errors="surrogateescape")
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, encoded, flags), f"mount {target}")


def open_beneath(folder: int, path: str) -> int:
    """A descriptor (O_PATH) of what `path` leads to; OSError where that is outside the folder."""
    return _open_resolved(folder, path, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)


def open_real(path: str) -> int:
    """A descriptor (O_PATH) of that absolute path; OSError (ELOOP) where a link is part of it."""
    return _open_resolved(_AT_FDCWD, path, _RESOLVE_NO_SYMLINKS)


def _open_resolved(folder: int, path: str, resolve: int) -> int:
    # struct open_how: flags, mode, resolve.
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, resolve)
    encoded = path.encode(errors="surrogateescape")
    fd: int = _libc.syscall(_OPENAT2, folder, encoded, how, ctypes.sizeof(how))
    _check(fd, f"open {path}")
    return fd


def pivot_root(new_root: str) -> None:
    """The mount at `new_root` is the root of this mount namespace; the old one is gone from it."""
    old = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir(new_root)
        # pivot_root(2), "pivot_root(".", ".")": the old root lies over the new one, and goes.
        _check(_libc.pivot_root(b".", b"."), "pivot_root")
        os.fchdir(old)
        unmount(".")
        os.chdir("/")
    finally:
        os.close(old)


def die_with_parent(signal_number: int = 9) -> None:
    """The kernel sends this process the signal when the thread that started it ends.

    A later change of credentials takes it back; so it comes after them.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PDEATHSIG")


def set_name(name: str) -> None:
    """What `ps -o comm` calls this thread: at most 15 octets."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl NAME")


def give_up_new_privileges() -> None:
    """No program started from here gains rights by set-user-ID or file capabilities."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def map_own_ids(inside: int, uid: int, gid: int) -> None:
    """In a user namespace just entered, this user's outer `uid` and `gid` appear as `inside`."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {uid} 1"),
        ("gid_map", f"{inside} {gid} 1"),
    ):
        # No pathlib here: loading it takes longer than all of a container's own start.
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
