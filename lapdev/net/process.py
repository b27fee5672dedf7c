"""How a role meets its process: stop signals come in, the word that it serves goes out."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(*, hang_up: bool = False) -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets, while the block runs.

    With `hang_up` SIGHUP does, too: a terminal that is closed. Not below nohup, which ignores it.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    numbers = list(STOP_SIGNALS)
    if hang_up and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def on_hang_up(asked: Callable[[], object], terminal_gone: Callable[[], object]) -> Iterator[None]:
    """What SIGHUP does while the block runs: it is sent on purpose, or by a terminal that goes."""
    loop = asyncio.get_running_loop()
    had_terminal = has_terminal()

    def hung_up() -> None:
        if had_terminal and not has_terminal():
            terminal_gone()
        else:
            asked()

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def has_terminal() -> bool:
    """This process has a controlling terminal, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def notify_ready(fd: int) -> None:
    """Whoever started us and waits at the other end of `fd` learns that we serve. -1: nobody."""
    if fd < 0:
        return
    try:
        os.write(fd, b"ready\n")
    except BrokenPipeError:
        return  # the one who asked does not wait any more
    finally:
        os.close(fd)
