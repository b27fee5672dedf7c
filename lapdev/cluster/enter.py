"""Started in front of a pod's process: joins the pod's namespaces, then becomes the command.

A script of its own: `python -I -S enter.py KIND PIDFD CWD COMMAND…`. It is on the way of every
container's start, so it imports little. KIND says how much of the pod is joined:

    container   user, network, mount, UTS and IPC namespace (the PID namespace came from its parent)
    sidecar     the network namespace only, under a user of its own with no rights over it: the app
                can neither see, signal nor trace it, and it still reaches the manager's socket
    process     nothing: pods without isolation
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from lapdev.cluster import syscalls

NOT_FOUND = 127
NOT_STARTED = 126

INSIDE_ID = 1000
"""The user a pod's processes believe to be."""


def join(kind: str, pidfd: int) -> None:
    if kind == "container":
        syscalls.setns(
            pidfd,
            syscalls.NEW_USER
            | syscalls.NEW_NET
            | syscalls.NEW_NS
            | syscalls.NEW_UTS
            | syscalls.NEW_IPC,
        )
    elif kind == "sidecar":
        uid, gid = os.getuid(), os.getgid()
        syscalls.setns(pidfd, syscalls.NEW_NET)
        syscalls.unshare(syscalls.NEW_USER)
        syscalls.map_own_ids(INSIDE_ID, uid, gid)
    if pidfd >= 0:
        os.close(pidfd)
    syscalls.give_up_new_privileges()
    syscalls.die_with_parent()


def main(kind: str, pidfd: str, cwd: str, *command: str) -> int:
    # Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across exec.
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        join(kind, int(pidfd))
        os.chdir(cwd)
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError as exc:
        print(f"lapdev: {exc.filename or command[0]}: not found on this machine", file=sys.stderr)
        return NOT_FOUND
    except OSError as exc:
        print(f"lapdev: cannot start {command[0]}: {exc}", file=sys.stderr)
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
