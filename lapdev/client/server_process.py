"""The server that `lapdev up` starts for itself: `lapdev serve` as a process of its own.

Whether one runs is the data directory's lock; whether it is ours to end is in its own environment,
as it was started with. No file of ours can be stale, and no other process is ever signalled.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lapdev.account import supervisor_pid
from lapdev.errors import ClusterError, ConfigError, NotReady

START_TIMEOUT = 90.0
STOP_TIMEOUT = 75.0
"""Cloud and manager may each drain for 30 seconds."""
PREFERRED = ("127.0.0.1", 8080)
MARK = "LAPDEV_STARTED_BY"


@dataclass(frozen=True, slots=True)
class Start:
    """What `ensure_server` did."""

    started: bool
    """False: one ran already."""
    log_file: Path
    port_taken: bool = False
    """The port people remember was not free: it has another."""


def ensure_server(directory: Path, flags: Sequence[str], environ: Mapping[str, str]) -> Start:
    """A server serves from this data directory.

    `flags` are for `lapdev serve` and count only if it is started here.

    Raises:
        ClusterError: it ended before it served; what it said is the detail.
        NotReady: it did not serve in time, and has been ended.
        ConfigError: the directory cannot be used.
    """
    log_file = directory / "serve.log"
    with _starting(directory):
        if supervisor_pid(directory):
            return Start(False, log_file)
        more, port_taken = _defaults(environ)
        _start([f"--data-dir={directory}", *more, *flags], log_file, environ)
        return Start(True, log_file, port_taken)


def background_pid(directory: Path) -> int:
    """The server of this data directory, if `lapdev up` started it; else 0."""
    pid = supervisor_pid(directory)
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pid else []
    except OSError:
        return 0  # it has just ended
    return pid if f"{MARK}=up".encode() in environ else 0


def stop_server(directory: Path) -> bool:
    """The server that `lapdev up` started here is gone, and everything it ran. False: none ran.

    Killed if it has not stopped after `STOP_TIMEOUT` seconds: the kernel takes its children along.
    """
    pid = background_pid(directory)
    if not pid:
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at again, now that the descriptor keeps the number from meaning another process.
        if background_pid(directory) != pid:
            return False
        for number, timeout in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], timeout)[0]:
                break
    finally:
        os.close(process)
    return True


@contextlib.contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """Of several commands that find no server, one starts it and the others wait for that."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "start-lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise ConfigError(
            f"data directory {directory}: {exc.strerror}", hint="set LAPDEV_DATA_DIR to another"
        ) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _defaults(environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """Flags for what the user's own settings do not say, and whether the usual port is taken."""
    flags = []
    # What it logs is kept for as long as it runs: one line per request would never end.
    if not environ.get("LAPDEV_LOG_LEVEL") and not environ.get("LAPDEV_CONFIG"):
        flags.append("--log-level=warning")
    if environ.get("LAPDEV_LISTEN") or environ.get("LAPDEV_CONFIG") or _is_free(PREFERRED):
        return flags, False
    return [*flags, f"--listen={PREFERRED[0]}:0"], True


def _is_free(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def _start(flags: Sequence[str], log_file: Path, environ: Mapping[str, str]) -> None:
    reader, writer = os.pipe()
    try:
        process = _spawn([*flags, f"--ready-fd={writer}"], log_file, writer, environ)
    finally:
        os.close(writer)
    try:
        readable, _, _ = select.select([reader], [], [], START_TIMEOUT)
        said = os.read(reader, 16) if readable else b""
    except BaseException:  # Ctrl-C: a half-started server would be nobody's
        _end(process)
        raise
    finally:
        os.close(reader)
    if said:
        return
    if not readable:
        _end(process)
        raise NotReady(
            f"the server in the background did not serve within {START_TIMEOUT:g} s",
            hint=f"{log_file} has more",
        )
    # The descriptor was closed unwritten: the process ends, and its last lines say why.
    process.wait()
    raise ClusterError(
        f"the server in the background did not start: {_cause(log_file)}",
        hint=f"{log_file} has more",
    )


def _cause(log_file: Path) -> str:
    """The first error that was reported: those after it follow from it."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    reported = [line.removeprefix("lapdev: ") for line in lines if line.startswith("lapdev: ")]
    return (reported or lines[-1:] or ["it said nothing"])[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spawn(
    flags: Sequence[str], log_file: Path, ready_fd: int, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        # -P: what lies in the working directory is never imported in place of our modules.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "lapdev", "serve", "--role=all", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**environ, MARK: "up"},
            pass_fds=(ready_fd,),
            start_new_session=True,
        )
    finally:
        os.close(log)
