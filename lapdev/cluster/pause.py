"""Holds namespaces open: the first process of a pod, or of all pods together.

A script of its own: `python -I -S pause.py reaper FD`. FD is a socket to the manager; when its
other end is gone, so is the manager, and this process ends. As it is PID 1 of its PID namespace,
the kernel then kills every process in it. The holder of a pod is a copy of the reaper, which shares
what both have loaded: any message with a socket makes one, and that socket is its own.

The talk of a pod's holder, one message each: it says `hello` (the manager reads its process id
from the message's credentials); the manager attaches the network and sends the plan as JSON; the
holder prepares the pod and says `ready`, or what went wrong. With `ready` comes a socket that tells
who listens in the pod's network namespace, where the kernel has such sockets.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from lapdev.cluster import interfaces, syscalls

INSIDE_ID = 1000
HOLDER_NAME = "lapdev-pod"
"""Tells a pod's holder from the reaper, whose command line it has."""
MESSAGE_BYTES = 65536

POD_NAMESPACES = (
    syscalls.NEW_USER
    | syscalls.NEW_PID
    | syscalls.NEW_NET
    | syscalls.NEW_NS
    | syscalls.NEW_UTS
    | syscalls.NEW_IPC
)


def reap(*_: object) -> None:
    """Orphans end up at PID 1, which must take their exit status or they stay as zombies."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def hold(control: socket.socket) -> None:
    """Returns when the manager is gone."""
    while control.recv(MESSAGE_BYTES):
        pass


def make_holders(control: socket.socket) -> None:
    """Returns when the manager is gone."""
    while True:
        message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 1)
        if not message:
            return
        for fd in fds:
            try:
                pid = os.fork()
            except OSError:
                pid = -1  # too many processes: the manager hears that there is no holder
            if not pid:
                become_holder(control, fd)
            os.close(fd)


def become_holder(reaper: socket.socket, fd: int) -> None:
    """Never returns."""
    try:
        reaper.close()
        os.setsid()
        syscalls.set_name(HOLDER_NAME)
        hold_pod(socket.socket(fileno=fd))
    finally:
        os._exit(0)


def enter_pod() -> None:
    """From here on this is PID 1 of a new pod; the process that was forked for it has ended."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(POD_NAMESPACES)
    syscalls.map_own_ids(INSIDE_ID, uid, gid)
    if os.fork():
        os._exit(0)


def prepare(plan: dict[str, Any]) -> None:
    socket.sethostname(plan["name"])
    prepare_network(plan["address"], plan["netmask"], plan["gateway"])
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    protect_cgroups()
    bind_files(plan["files"], plan["placeholders"])
    # Innermost first: a folder that lies in another is gone once that one is covered.
    for folder in sorted(plan["fresh"], key=len, reverse=True):
        if Path(folder).is_dir():
            fresh_folder(folder, [path for path in plan["keep"] if path.startswith(folder + "/")])
        elif Path(folder).exists():
            syscalls.mount("/dev/null", folder, flags=syscalls.MS_BIND)
    mount_proc()


def prepare_network(address: str, netmask: str, gateway: str) -> None:
    interfaces.bring_up("lo")
    interfaces.set_address("eth0", address, netmask)
    interfaces.bring_up("eth0")
    interfaces.set_default_route(gateway)
    try:
        # Apps of production listen on 80, too, and are no root here.
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    except OSError:
        return  # a read-only /proc/sys: then low ports need a change in the manifest


def protect_cgroups(folder: str = "/sys/fs/cgroup") -> None:
    """Cgroups are seen, and not changed: their files are this user's, and so the pod's own limits
    and lapdev's cgroup would be in the pod's hands."""
    try:
        tree = syscalls.open_tree(folder)
    except OSError:
        return  # a machine that has none there
    syscalls.make_read_only(tree)
    syscalls.move_mount(tree, folder)
    os.close(tree)


def bind_files(files: dict[str, str], placeholders: str) -> None:
    """Each file takes the place of its target in this pod; `/etc` gains what it does not have."""
    if not all(Path(target).is_file() for target in files):
        syscalls.mount(
            "overlay", "/etc", "overlay", syscalls.MS_RDONLY, f"lowerdir={placeholders}:/etc"
        )
    for target, source in files.items():
        syscalls.mount(source, target, flags=syscalls.MS_BIND)


def fresh_folder(folder: str, keep: list[str]) -> None:
    """An empty folder in memory, except for the paths below it that the pod runs from."""
    kept = [(path, os.open(path, os.O_PATH)) for path in keep]
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", folder, "tmpfs", flags, "mode=1777")
    for path, fd in kept:
        Path(path).mkdir(parents=True, exist_ok=True)
        flags = syscalls.MS_BIND | syscalls.MS_REC
        syscalls.mount(f"/proc/self/fd/{fd}", path, flags=flags)
        os.close(fd)


def mount_proc() -> None:
    """The pod sees its own processes and no others, where the kernel lets us."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    try:
        syscalls.mount("proc", "/proc", "proc", flags)
    except PermissionError:
        return  # parts of /proc are covered here (a container): the pod keeps seeing that one


def say_ready(control: socket.socket) -> None:
    try:
        diag = interfaces.open_diag()
    except OSError:
        control.send(b"ready")  # a kernel without: the manager reads /proc
        return
    with diag:
        socket.send_fds(control, [b"ready"], [diag.fileno()])


def hold_pod(control: socket.socket) -> None:
    enter_pod()
    control.send(b"hello")
    try:
        prepare(json.loads(control.recv(MESSAGE_BYTES)))
        say_ready(control)
    except OSError as exc:
        control.send(str(exc).encode())
        return
    hold(control)


def main(kind: str, fd: str) -> None:
    assert kind == "reaper"
    control = socket.socket(fileno=int(fd))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    syscalls.die_with_parent()
    signal.signal(signal.SIGCHLD, reap)
    make_holders(control)


if __name__ == "__main__":
    main(*sys.argv[1:])
