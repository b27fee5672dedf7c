"""Sidecars by fork: one process has imported everything, and each sidecar of the machine is a copy.

What no copy changes, all of them share: a forked sidecar starts in a tenth of the time of a new
interpreter and holds a third of its memory. Only the local driver uses this; a pod in Kubernetes
has a sidecar of its own.

The talk, over a SOCK_SEQPACKET socket: one message per sidecar, `pod` or `open`, with descriptors:
a socket of the sidecar's own, its launch document, where its output goes and, for `pod`, a pidfd of
the pod's holder. On the sidecar's own socket the copy says `hello` (whoever receives it learns the
process id from the message's credentials), and once it has ended this process says its exit status
as `waitpid` has it. The other end gone, this process ends, and its copies with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import os
import selectors
import signal
import socket
import sys

from lapdev.cluster import enter, syscalls
from lapdev.errors import ConfigError, LapdevError
from lapdev.serve import error_line, serve
from lapdev.settings import SidecarSettings

PROCESS_NAME = "lapdev-sidecar"
"""Tells the copies from their original, whose command line they have."""
MESSAGE_BYTES = 64
MOST_DESCRIPTORS = 4
PRELOADED = ("uvloop", "lapdev.sidecar.app", "lapdev.tunnel", "encodings.idna")
"""All that a sidecar ever imports. The last comes with the first host name and costs 2 MB."""


def run(settings: SidecarSettings) -> None:
    """Makes sidecars until the manager's end of `settings.fork_fd` is closed.

    Raises:
        ConfigError: that descriptor is no socket.
    """
    try:
        control = socket.socket(fileno=settings.fork_fd)
    except OSError as exc:
        raise ConfigError(
            f"fork_fd {settings.fork_fd} is no socket: {exc.strerror}",
            hint="a manager with the local driver starts this process and hands it over",
        ) from exc
    with control:
        ForkServer(control, settings).run()


class ForkServer:
    """The process that sidecars are copies of. One thread, no event loop: both survive no fork."""

    def __init__(self, control: socket.socket, settings: SidecarSettings) -> None:
        self._control = control
        self._settings = settings
        self._sidecars: dict[int, socket.socket] = {}
        """Process id, as seen here, → the socket on which its end is told."""
        self._woken = socket.socketpair()

    def run(self) -> None:
        for name in PRELOADED:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # a collection would write to every object, and so copy every page
        self._watch_children()
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._woken[0], selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._control:
                        if not self._serve_request():
                            return
                    else:
                        self._reap()

    def _watch_children(self) -> None:
        for end in self._woken:
            end.setblocking(False)
        signal.set_wakeup_fd(self._woken[1].fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # The manager decides when sidecars end; this process ends with its socket.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _serve_request(self) -> bool:
        """False: the manager is gone."""
        message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, MOST_DESCRIPTORS)
        if not message:
            return False
        own = socket.socket(fileno=fds[0])
        try:
            pid = os.fork()
        except OSError:
            own.close()  # the manager hears that there is none
            pid = -1
        if not pid:
            # Never returns into the server's own loop, whatever happens.
            self._become_sidecar(own, fds[1:], isolated=message == b"pod")
        for fd in fds[1:]:
            os.close(fd)
        if pid > 0:
            self._sidecars[pid] = own
        return True

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken[0].recv(MESSAGE_BYTES):
                pass
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                own = self._sidecars.pop(ended[0])
                with own, contextlib.suppress(OSError):  # the manager may not care any more
                    own.send(str(ended[1]).encode())

    # The copy

    def _become_sidecar(self, own: socket.socket, fds: list[int], *, isolated: bool) -> None:
        code = 1
        try:
            self._forget_the_server()
            launch, output, *holder = fds
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            enter.join("sidecar" if isolated else "process", holder[0] if isolated else -1)
            own.send(b"hello")
            own.close()
            serve("sidecar", dataclasses.replace(self._settings, fork_fd=-1, launch_fd=launch))
            code = 0
        except LapdevError as exc:
            sys.stderr.write(error_line(exc) + "\n")
        except BaseException:  # nobody is above: what is not told here is never told
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)

    def _forget_the_server(self) -> None:
        os.setsid()
        syscalls.set_name(PROCESS_NAME)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        for mine in (self._control, *self._woken, *self._sidecars.values()):
            mine.close()
