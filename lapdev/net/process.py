"""How a role meets its process: stop signals come in, the word that it serves goes out."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets, while the block runs."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


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
