"""The manager's own namespaces: the outermost ones, in which it is root over all pods' networks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lapdev.cluster import interfaces, syscalls
from lapdev.errors import ClusterError

_entered = False

_SYSCTLS = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
)


def enter_outer() -> None:
    """This process is root in user, network and mount namespaces of its own. Cannot be undone.

    To be called before the event loop and before any thread; Unix sockets in the file system still
    reach other processes, TCP does not. Calling it again does nothing.

    Raises:
        ClusterError: this machine does not allow it; says what forbids it and what to do.
    """
    global _entered
    if _entered:
        return
    uid, gid = os.getuid(), os.getgid()
    try:
        syscalls.unshare(syscalls.NEW_USER | syscalls.NEW_NET | syscalls.NEW_NS)
        syscalls.map_own_ids(0, uid, gid)
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        interfaces.bring_up("lo")
    except OSError as exc:
        raise ClusterError(
            f"this machine does not let pods have their own namespaces: {exc}",
            hint=remedy(exc.errno or 0),
        ) from exc
    _entered = True


def in_outer() -> bool:
    """`enter_outer` has succeeded in this process."""
    return _entered


def remedy(error_number: int, sysctl_root: Path = Path("/proc/sys")) -> str:
    """What to do about a refused namespace, from what the machine says about itself."""
    otherwise = "or run without isolation between pods: --no-isolation"
    if error_number == errno.EINVAL:
        return "the manager must enter its namespaces before it starts any thread"
    for path, forbidding, setting in _SYSCTLS:
        file = sysctl_root / path
        if file.is_file() and file.read_text().strip() == forbidding:
            return f"allow it: sysctl -w {setting}; {otherwise}"
    if _in_chroot():
        return f"the kernel refuses user namespaces inside a chroot: leave it; {otherwise}"
    return (
        "a container's seccomp profile, a security module or a chroot forbids it: allow unshare and"
        f" mount (docker: --security-opt seccomp=unconfined), or leave the chroot; {otherwise}"
    )


def _in_chroot() -> bool:
    """The process's root folder is not the root of its mount namespace."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return True  # no /proc at all: typical for a bare chroot
    return not any(line.split()[4] == "/" for line in lines)
