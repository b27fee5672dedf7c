"""Started in front of a pod's process: joins the pod's namespaces, then becomes the command.

A script of its own: `python -I -S enter.py KIND PIDFD GIVEN CWD COMMAND…`. It is on the way of
every container's start, so it imports little. KIND says how much of the pod is joined:

    container   user, network, mount, UTS and IPC namespace (the PID namespace came from its parent)
    sidecar     the network namespace only, under a user of its own with no rights over it: the app
                can neither see, signal nor trace it, and it still reaches the manager's socket
    process     nothing: pods without isolation

PIDFD is the pod's holder, or a process of the pod beside which this one sees the same mounts.
GIVEN are further descriptors, `WHAT:FD,…`, none of which the command inherits:

    cgroup      a `cgroup.procs` to write oneself into; there may be several
    mounts      a plan as `mounts.encode` writes it, for a mount namespace of its own
    joined      PIDFD, where that is not the holder
    entered     closed when the command is executed, or never will be
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, __file__.rsplit("/", 3)[0])

from lapdev.cluster import syscalls

NOT_FOUND = 127
NOT_STARTED = 126

INSIDE_ID = 1000
"""The user a pod's processes believe to be."""

POD_NAMESPACES = (
    syscalls.NEW_USER | syscalls.NEW_NET | syscalls.NEW_NS | syscalls.NEW_UTS | syscalls.NEW_IPC
)


def join(kind: str, pidfd: int) -> None:
    """This process is where KIND says, dies with its parent, and gains no rights by programs."""
    if kind == "container":
        syscalls.setns(pidfd, POD_NAMESPACES)
    elif kind == "sidecar":
        uid, gid = os.getuid(), os.getgid()
        syscalls.setns(pidfd, syscalls.NEW_NET)
        syscalls.unshare(syscalls.NEW_USER)
        syscalls.map_own_ids(INSIDE_ID, uid, gid)
    if pidfd >= 0:
        os.close(pidfd)
    syscalls.give_up_new_privileges()
    # After the change of credentials, which takes it back.
    syscalls.die_with_parent()


def enter(kind: str, pidfd: int, given: list[tuple[str, int]]) -> None:
    for what, fd in given:
        os.set_inheritable(fd, False)
        if what == "cgroup":
            os.write(fd, b"0")
    plans = [fd for what, fd in given if what == "mounts"]
    if not plans:
        join(kind, pidfd)
    else:
        from lapdev.cluster import mounts

        opened = mounts.open_sources(mounts.decode(os.read(plans[0], os.fstat(plans[0]).st_size)))
        join(kind, pidfd)
        mounts.attach(opened)


def parse_given(text: str) -> list[tuple[str, int]]:
    pairs = [word.split(":") for word in text.split(",") if word]
    return [(what, int(fd)) for what, fd in pairs]


def main(kind: str, pidfd: str, given: str, cwd: str, *command: str) -> int:
    # Python ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across exec.
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        enter(kind, int(pidfd), parse_given(given))
        os.chdir(cwd)
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError as exc:
        print(f"lapdev: {exc.filename or command[0]}: not found on this machine", file=sys.stderr)
        return NOT_FOUND
    except OSError as exc:
        print(f"lapdev: cannot start {command[0]}: {exc}", file=sys.stderr)
        return NOT_STARTED
    except Exception as exc:
        # Of `mounts`, which most containers do without; anything else is as much an end.
        print(f"lapdev: {exc}", file=sys.stderr)
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
