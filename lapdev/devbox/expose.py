"""`lapdev expose HOST:PORT`: an address of this machine gets a preview URL, or a port of the cloud.

No environment is needed. What is printed on standard output is for scripts: the address, or with
`--json` one object a line for everything that happens.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import select
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, TextIO

import click

from lapdev import log
from lapdev.account import Account, find_account, state_dir
from lapdev.devbox.app import dial_error, uplink_options
from lapdev.devbox.commands import ca_file_option, server_option, token_file_option
from lapdev.devbox.exposing import Exposer, Exposing, Reports, exposure_key
from lapdev.errors import ConfigError, LapdevError
from lapdev.model import ExposureKind
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.process import stop_signals
from lapdev.net.tasks import Tasks
from lapdev.serve import loop_factory, tune_malloc
from lapdev.settings import DevboxSettings, load
from lapdev.tunnel import Uplink
from lapdev.wire.control import ExposureState, RequestSeen

MOST_WAITING = 1_000
"""Lines that nobody reads yet."""
PRINT_AGAIN = 0.1


@click.command()
@click.argument("target", metavar="[HOST:]PORT")
@click.option("--tcp", is_flag=True, help="Any protocol over TCP: a port of the cloud, not a URL.")
@click.option("--udp", is_flag=True, help="Datagrams: a UDP port of the cloud.")
@click.option("--name", metavar="NAME", help="What the URL begins with; the same name keeps it.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="With --tcp or --udp: this port, if free."
)
@server_option
@token_file_option
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event.")
def expose(target: str, name: str | None, port: int | None, **given: Any) -> None:
    """Give a program on this machine a preview URL until Ctrl-C.

    PORT alone means this machine. The URL stays the same through lost connections and restarts,
    and the next time, too.
    """
    as_json: bool = given.pop("as_json")
    kind = _kind(given.pop("tcp"), given.pop("udp"))
    if port is not None and kind is ExposureKind.HTTP:
        raise click.UsageError("--port goes with --tcp or --udp: a URL has the cloud's own port")
    settings = load(DevboxSettings, given, os.environ)
    address = target_address(target)
    exposing = Exposing(
        target=address,
        kind=kind,
        name=name or f"port-{address.port}",
        key=exposure_key(
            state_dir(os.environ, settings.state_dir), kind, name or f"{address}".lower()
        ),
        port=port or 0,
        watch=as_json or sys.stdout.isatty(),
    )
    account = find_account(
        settings.server, settings.token_file, os.environ, settings.token, settings.ca_file
    )
    # What is worth a warning is told in our own words.
    level = "error" if settings.log_level == "warning" else settings.log_level
    log.configure(settings.role, level)
    tune_malloc()
    reports = JsonLines() if as_json else Shown(exposing, sys.stdout.isatty())
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run(exposing, account, reports, settings.tunnel_links))


def _kind(tcp: bool, udp: bool) -> ExposureKind:
    if tcp and udp:
        raise click.UsageError("--tcp and --udp are two exposures")
    if udp:
        return ExposureKind.UDP
    return ExposureKind.TCP if tcp else ExposureKind.HTTP


async def run(exposing: Exposing, account: Account, reports: Printed, links: int = 1) -> None:
    """Exposed until SIGTERM or SIGINT, or until the terminal is closed.

    Raises:
        LapdevError: the cloud does not take the token, or will not expose this.
        BrokenPipeError: nobody reads any more what is printed.
    """
    with stop_signals(hang_up=True) as stop:
        reports.on_unheard = stop.set
        async with Tasks() as tasks:
            exposer = Exposer(exposing, tasks, reports)
            uplink = Uplink(uplink_options(account, links), exposer)

            def failed(error: Exception) -> None:
                exposer.dial_failed(dial_error(error, account.server))

            uplink.on_failed = failed
            tasks.spawn(uplink.run(), "expose uplink")
            tasks.spawn(exposer.look(), "look for the target")
            tasks.spawn(reports.keep_printing(), "print what waits")
            stopping: asyncio.Future[Any] = tasks.spawn(stop.wait(), "wait for a signal")
            await asyncio.wait({stopping, exposer.failed}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                error: LapdevError = exposer.failed.result()
                raise error
            await exposer.end()
    if reports.unheard:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def target_address(text: str) -> TcpAddress:
    """The address that `[HOST:]PORT` names.

    Raises:
        ConfigError: it is none.
    """
    if re.fullmatch(r":?[0-9]{1,5}", text):
        text = f"localhost:{text.lstrip(':')}"
    problem = ConfigError(
        f"{text!r:.100} is not an address of a program",
        hint="write a port, as in `lapdev expose 3000`, or HOST:PORT",
    )
    try:
        found = parse_address(text)
    except ConfigError as exc:
        raise problem from exc
    if not isinstance(found, TcpAddress) or "://" in text or found.port == 0:
        raise problem
    return found


class Printed(Reports):
    """Reports that are printed. Whoever reads slowly, or has stopped its terminal, holds up
    nobody's request: lines wait, and above `MOST_WAITING` they are lost.
    """

    def __init__(self) -> None:
        self.unheard = False
        """Whoever read it has gone."""
        self.on_unheard: Callable[[], object] = lambda: None
        self._waiting: deque[tuple[str, bool]] = deque()
        self._held_up = asyncio.Event()

    def print(self, text: str, *, err: bool = False) -> None:
        """A line more. One that cannot be written is lost, and the exposure goes on."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((text, err))
        self.print_waiting()

    def print_waiting(self) -> None:
        """What can be printed without waiting for whoever reads it."""
        while self._waiting and _takes_some(sys.stderr if self._waiting[0][1] else sys.stdout):
            text, err = self._waiting.popleft()
            try:
                click.echo(text, err=err)
            except BrokenPipeError:
                self.unheard = True
                self.on_unheard()
            except OSError:
                continue  # a full disk
        if self._waiting:
            self._held_up.set()

    async def keep_printing(self) -> None:
        """What had to wait is printed when it can be."""
        while True:
            await self._held_up.wait()
            self._held_up.clear()
            await asyncio.sleep(PRINT_AGAIN)
            self.print_waiting()


def _takes_some(stream: TextIO) -> bool:
    """A line, at least: a pipe that is writable takes 4 KiB (PIPE_BUF)."""
    try:
        return bool(select.select([], [stream.fileno()], [], 0)[1])
    except (OSError, ValueError):
        return True  # no file of the kernel's


class JsonLines(Printed):
    """One object a line for each event."""

    def exposed(self, state: ExposureState) -> None:
        self._line("exposed", **asdict(state))

    def disconnected(self, reason: str, hint: str = "") -> None:
        self._line("disconnected", error=reason, hint=hint)

    def target_lost(self, reason: str) -> None:
        self._line("target_lost", error=reason)

    def target_found(self) -> None:
        self._line("target_found")

    def requests(self, seen: tuple[RequestSeen, ...], more: int) -> None:
        for request in seen:
            self._line("request", **asdict(request))
        if more:
            self._line("requests_left_out", count=more)

    def _line(self, event: str, **fields: object) -> None:
        self.print(json.dumps({"event": event, **fields}))


class Shown(Printed):
    """For people: the address on standard output, all else on standard error."""

    def __init__(self, exposing: Exposing, terminal: bool) -> None:
        super().__init__()
        self._exposing = exposing
        self._terminal = terminal
        self._url = ""
        self._down = ""

    def exposed(self, state: ExposureState) -> None:
        if state.url != self._url:
            self._url = state.url
            self.print(state.url)
            if self._terminal:
                self._say(f"It leads to {self._exposing.target}. Ctrl-C ends it.")
        elif self._down:
            self._say("connected again")
        self._down = ""
        if state.problem:
            self._say(f"nobody can reach it: {state.problem}")

    def disconnected(self, reason: str, hint: str = "") -> None:
        if reason != self._down:
            self._down = reason
            self._say(f"not connected: {reason}; trying again{f' ({hint})' if hint else ''}")

    def target_lost(self, reason: str) -> None:
        told = "cut off" if self._exposing.port_only else "told so on a page"
        self._say(f"{self._exposing.target}: {reason}; visitors are {told} meanwhile")

    def target_found(self) -> None:
        self._say(f"{self._exposing.target} answers")

    def requests(self, seen: tuple[RequestSeen, ...], more: int) -> None:
        for request in seen:
            self.print(request_line(request, datetime.now().astimezone()))
        if more:
            self.print(f"          and {more} more")

    def _say(self, text: str) -> None:
        self.print(text, err=True)


def request_line(request: RequestSeen, now: datetime) -> str:
    """One exchange, or one raw connection, on a line of a terminal."""
    duration = f"{request.duration_ms:.0f} ms" if request.duration_ms < 10_000 else ""
    duration = duration or f"{request.duration_ms / 1000:.0f} s"
    if request.method == "STREAM":
        what = f"connection  {request.bytes_in:,} bytes in, {request.bytes_out:,} out"
    else:
        what = f"{request.status or '---'}  {request.method:<7} {printable(request.path)}"
    why = f"  ({printable(request.error)})" if request.error else ""
    return f"{now:%H:%M:%S}  {what}  {duration}{why}"


def printable(text: str) -> str:
    """A stranger's text with nothing in it that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
