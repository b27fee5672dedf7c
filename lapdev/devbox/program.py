"""`devbox run`: a program whose HTTP goes through the proxy, with its exit code and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from lapdev.devbox.app import Devbox
from lapdev.errors import ConfigError, NotReady
from lapdev.serve import error_line
from lapdev.settings import DevboxSettings

START_TIMEOUT = 15.0

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


async def run_beside(proxy: str, command: Sequence[str]) -> int:
    """The command's exit code; it uses the proxy of a running `devbox connect`."""
    return await _run_program(command, proxy_environment(proxy, os.environ))


async def run_alone(settings: DevboxSettings, command: Sequence[str]) -> int:
    """The command's exit code; it has a session of its own while it runs.

    Raises:
        LapdevError: no account, or the cloud refused the session.
    """
    async with Devbox(settings) as devbox:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await devbox.session.wait_started()
        except TimeoutError as exc:
            raise devbox.session.error or NotReady("the cloud does not answer") from exc
        return await _run_program(command, proxy_environment(devbox.proxy_address, os.environ))


def proxy_environment(proxy: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that is to use the proxy for all but its own machine."""
    # No socks5h:// here, though the port speaks it: clients without a SOCKS library refuse to
    # start when they see one. Programs disagree on the names' case, so they get both.
    names = ("http_proxy", "https_proxy", "all_proxy")
    values = dict.fromkeys(names, f"http://{proxy}") | {"no_proxy": "localhost,127.0.0.1,::1"}
    upper = {name.upper(): value for name, value in values.items()}
    return {**environ, **values, **upper}


async def _run_program(command: Sequence[str], environment: dict[str, str]) -> int:
    """Signals that ask this process to end go to the program; then its code is ours."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except FileNotFoundError:
        return _not_run(command[0], "no such program", "check the name, or give its path", 127)
    except OSError as exc:
        return _not_run(command[0], exc.strerror or str(exc), "make it executable", 126)
    loop = asyncio.get_running_loop()
    for number in FORWARDED:
        loop.add_signal_handler(number, _forward, process, number)
    code = await process.wait()
    # As a shell has it: 128 and the signal that ended the program.
    return code if code >= 0 else 128 - code


def _not_run(program: str, reason: str, hint: str, code: int) -> int:
    """The code env(1) and timeout(1) have for it: a caller can tell it from the program's own."""
    print(error_line(ConfigError(f"{program}: {reason}", hint=hint)), file=sys.stderr)
    return code


def _forward(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Ctrl-C reaches the whole foreground group: the program has had it from the terminal.
    if number is signal.SIGINT and os.isatty(0):
        return
    if process.returncode is None:
        process.send_signal(number)
