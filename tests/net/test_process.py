"""Signals of a process, and the word that it serves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from lapdev.net import process
from lapdev.net.process import notify_ready, on_hang_up, stop_signals


async def test_a_stop_signal_sets_the_event() -> None:
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stop.wait()


async def test_a_terminal_that_goes_is_a_stop_where_that_is_asked_for() -> None:
    with stop_signals(hang_up=True) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(5):
            await stop.wait()


async def test_below_nohup_a_terminal_may_go() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(hang_up=True) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)  # signals are handled in order of their numbers
            async with asyncio.timeout(5):
                await stop.wait()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("before", "then", "happened"),
    [(True, True, "asked"), (True, False, "gone"), (False, False, "asked")],
)
async def test_a_hang_up_is_a_request_unless_the_terminal_went(
    before: bool, then: bool, happened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [before, then]
    monkeypatch.setattr(process, "has_terminal", lambda: answers.pop(0))
    seen: asyncio.Queue[str] = asyncio.Queue()
    with on_hang_up(lambda: seen.put_nowait("asked"), lambda: seen.put_nowait("gone")):
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(5):
            assert await seen.get() == happened


def test_a_session_of_its_own_has_no_terminal() -> None:
    code = "import sys; from lapdev.net.process import has_terminal; sys.exit(has_terminal())"
    done = subprocess.run([sys.executable, "-c", code], check=False, start_new_session=True)
    assert done.returncode == 0


def test_a_terminal_is_seen_for_as_long_as_it_is_there() -> None:
    code = (
        "import fcntl, os, pty, signal, sys, termios\n"
        "from lapdev.net.process import has_terminal\n"
        "main, side = pty.openpty()\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "fcntl.ioctl(side, termios.TIOCSCTTY, 0)\n"
        "before = has_terminal()\n"
        "os.close(main)\n"
        "sys.exit(0 if before and not has_terminal() else 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, start_new_session=True)
    assert done.returncode == 0


def test_who_waits_is_told_once_and_who_left_is_not_missed() -> None:
    reading, writing = os.pipe()
    notify_ready(writing)
    assert os.read(reading, 16) == b"ready\n"
    assert os.read(reading, 16) == b"", "and nothing more will come"
    os.close(reading)
    reading, writing = os.pipe()
    os.close(reading)
    notify_ready(writing)
    notify_ready(-1)
