"""From settings to one role's `run()`: the process set-up every role shares.

The order matters: malloc before the first large buffer, namespaces while there is one thread,
logging before anything can fail, the event loop last. No click here: a sidecar starts through
this module alone.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from lapdev import log
from lapdev.errors import ConfigError, LapdevError
from lapdev.settings import ROLES, load, settings_of

ENTRIES = {
    "cloud": "lapdev.cloud.app",
    "manager": "lapdev.manager.app",
    "sidecar": "lapdev.sidecar.app",
    "all": "lapdev.embedded",
}
"""Roles that `serve` runs: the module whose `run(settings)` is the role."""

PARENT_VARIABLE = "LAPDEV_PARENT"
"""Process id of the supervisor: a child of it must not outlive it."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PR_SET_PDEATHSIG = 1


def serve(role: str, settings: Any) -> None:
    """Runs the role until it is told to stop.

    Raises:
        LapdevError: it could not start, or cannot go on.
    """
    log.configure(role, settings.log_level)
    if role in ("cloud", "manager"):
        tune_malloc()
    if role == "manager" and settings.driver == "local" and settings.isolation:
        from lapdev.cluster.namespaces import enter_outer

        if os.geteuid() == 0:
            hint = "run lapdev as an ordinary user: root's pods reach /proc/sys and devices"
            log.get_logger().warning("pods_run_as_root", hint=hint)
        enter_outer()
    die_with_parent(os.environ)
    run: Callable[[Any], Coroutine[Any, Any, None]] = importlib.import_module(ENTRIES[role]).run
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(run(settings))
    finally:
        give_up_unwritten()


def give_up_unwritten() -> None:
    """What a full disk does not take of the log is lost; at exit it would turn a good end into
    Python's exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loop; None (asyncio's own) where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def tune_malloc() -> None:
    """glibc keeps freed buffers for reuse instead of returning each to the kernel.

    The biggest lever for bulk traffic: 250 → 920 MB per CPU second through the tunnel. Another C
    library has no mallopt, or one that ignores this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2 * 1024 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 4 * 1024 * 1024)


def die_with_parent(environ: Any) -> None:
    """The kernel kills this process when the supervisor named in the environment dies.

    Set here and not between fork and exec, because entering a namespace may clear it; the check
    closes the gap in which the supervisor may already have died.
    """
    parent = environ.pop(PARENT_VARIABLE, "")
    if not parent:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # 0: the parent is outside our PID namespace, and cannot be compared.
    if os.getppid() not in (int(parent), 0):
        raise ConfigError("the supervisor that started this process is gone")


# The way a sidecar starts: no click


def parse_flags(role: str, argv: Sequence[str]) -> dict[str, Any]:
    """`--name value`, `--name=value`, `--name` and `--no-name` as the role's settings table has it.

    Raises:
        ConfigError: an unknown flag, or one without its value.
    """
    known = {item.flag: item for item in settings_of(ROLES[role]) if item.flag}
    flags: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        name, separator, value = word.partition("=")
        negative = name.startswith("--no-") and name not in known
        item = known.get("--" + name[5:] if negative else name)
        if item is None or (negative and item.type is not bool):
            raise ConfigError(f"unknown flag {name}", hint="allowed: " + ", ".join(known))
        if item.type is bool:
            flags[item.name] = not negative
            continue
        given = value if separator else next(words, None)
        if given is None:
            raise ConfigError(f"flag {name} needs a value", hint=item.help)
        flags[item.name] = given
    return flags


def main_sidecar(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """`lapdev serve --role sidecar`: the exit code."""
    try:
        settings = load(ROLES["sidecar"], parse_flags("sidecar", argv), environ)
        if settings.fork_fd >= 0:
            importlib.import_module("lapdev.sidecar.fork_server").run(settings)
        else:
            serve("sidecar", settings)
    except LapdevError as exc:
        sys.stderr.write(error_line(exc) + "\n")
        return 1
    return 0


def error_line(error: LapdevError) -> str:
    """`lapdev: what failed: what to do`, on one line."""
    text = f"lapdev: {error.detail}" + (f": {error.hint}" if error.hint else "")
    return " ".join(text.split())
