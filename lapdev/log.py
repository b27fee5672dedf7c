"""Logs: structlog set-up, the vocabulary of fields, redaction, and the access line.

One event name per fact, in the past tense; fields only from `FIELDS`. No secret, cookie, token,
query string or body, ever. Pure rooms do not log.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Imports of `names` fail inside the block, unless they were imported before it."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# structlog imports both where they are installed, and works without: rich (4 MB, for prettier
# tracebacks) and greenlet (1 MB, for loggers per green thread). A sidecar has better uses for it.
with _absent("rich", "greenlet"):
    import structlog

from json.encoder import encode_basestring_ascii as _quote  # noqa: E402
from time import gmtime, strftime, time  # noqa: E402

if TYPE_CHECKING:
    import asyncio

FIELDS = (
    "role",
    "cluster",
    "environment",
    "workload",
    "host",
    "route",
    "target",
    "conn_id",
    "exchange_id",
    "tunnel_id",
    "link",
    "stream_id",
    "trace_id",
    "identity",
    "method",
    "path",
    "status",
    "error",
    "error_source",
    "hint",
    "retryable",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "attempt",
    # Facts about the process itself
    "task",
    "pid",
    "address",
    "exit_code",
)
"""Every field an event may carry beside `time`, `level`, `event` and `traceback`."""

LEVELS = ("debug", "info", "warning", "error")

_SECRET_KEY = re.compile(r"authorization|cookie|token|password|secret", re.IGNORECASE)
_CREDENTIAL = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_REDACTED = "[redacted]"

EventDict = MutableMapping[str, Any]


def redact(_logger: object, _name: str, event: EventDict) -> EventDict:
    """No value under a secret-looking key and no `Bearer …` credential is left in the event."""
    for key, value in event.items():
        # `cluster_token_file` names a path, which is what an operator needs to see.
        if _SECRET_KEY.search(key) and not key.endswith("_file"):
            event[key] = _REDACTED
        elif isinstance(value, str):
            if "earer" in value or "asic" in value:
                event[key] = _CREDENTIAL.sub(rf"\1 {_REDACTED}", value)
        elif isinstance(value, dict):
            event[key] = redact(None, "", dict(value))
    return event


def configure(role: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Events of this process go to `stream` (default: stderr), readable on a terminal, else JSON.

    Messages of libraries that use `logging` arrive as `library_warned`, from warning upwards.
    """
    target = stream if stream is not None else sys.stderr
    console = target.isatty()

    def add_role(_logger: object, _name: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback, timestamp_key="time"
        )
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_role,
        structlog.processors.ExceptionRenderer(),
        _name_traceback,
        redact,
        renderer,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _StreamLogger(target),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)


def get_logger() -> Any:
    """The process's logger: `get_logger().info("tunnel_opened", tunnel_id=…)`."""
    return structlog.get_logger()


def _name_traceback(_logger: object, _name: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["traceback"] = event.pop("exception")
    return event


class _StreamLogger:
    """Writes finished lines. A full disk or a closed stream loses lines, not the process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = msg


class _LibraryHandler(logging.Handler):
    """Hands what libraries log through `logging` to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        getattr(get_logger(), level)(
            "library_warned", task=record.name, error=text, exc_info=record.exc_info
        )


# The access line


@dataclass(slots=True)
class AccessLine:
    """One exchange, as the access log tells it. Filled in while the exchange lives."""

    method: str = ""
    path: str = ""
    """The request target; everything from `?` on is dropped when it is written."""
    status: int = 0
    """0: no response was sent."""
    host: str = ""
    route: str = ""
    duration_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    conn_id: str = ""
    exchange_id: str = ""
    environment: str = ""
    workload: str = ""
    error: str = ""
    """The cause word of what went wrong."""
    trace_id: str = ""


FLUSH_LINES = 64
FLUSH_BYTES = 32 * 1024
FLUSH_INTERVAL = 0.25
PATH_LIMIT = 1024

_OPTIONAL = ("host", "route", "conn_id", "exchange_id", "environment", "workload", "trace_id")


class AccessLog:
    """One JSON line per exchange, formatted by hand (structlog costs 14 µs) and written in batches.

    A line is written at the latest `FLUSH_INTERVAL` seconds after it was made. Whatever `write`
    raises is counted in `dropped_lines` and goes no further.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        role: str,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        level: str = "info",
    ) -> None:
        """`loop` is the one whose timer flushes; without it the loop running at the first line.

        Access lines are of level info: a role that logs less (`level`) writes none.
        """
        self._write = write
        self._wanted = LEVELS.index(level) <= LEVELS.index("info")
        self._head = f'","level":"info","event":"exchange_finished","role":{_quote(role)}'
        self._loop = loop
        self._lines: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second = -1
        self._stamp = ""
        self.written_lines = 0
        self.dropped_lines = 0

    def line(self, entry: AccessLine) -> None:
        """The exchange will be in the log. Never raises."""
        if not self._wanted:
            return
        text = self._format(entry)
        self._lines.append(text)
        self._size += len(text)
        if len(self._lines) >= FLUSH_LINES or self._size >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._running_loop().call_later(FLUSH_INTERVAL, self._flush_due)

    def flush(self) -> None:
        """Every line so far has been handed to `write`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if not lines:
            return
        try:
            self._write("".join(lines).encode("ascii"))
        except (OSError, ValueError):
            self.dropped_lines += len(lines)
        else:
            self.written_lines += len(lines)

    def _flush_due(self) -> None:
        self._timer = None
        self.flush()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            import asyncio

            self._loop = asyncio.get_running_loop()
        return self._loop

    def _format(self, entry: AccessLine) -> str:
        """Method, path, host and error come from a peer: each is quoted, none can forge a line."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        path = entry.path
        cut = path.find("?")
        if cut >= 0:
            path = path[:cut]
        if len(path) > PATH_LIMIT:
            path = path[:PATH_LIMIT] + "…"
        text = (
            f'{{"time":"{self._stamp}.{int((now - second) * 1000):03d}Z{self._head}'
            f',"method":{_quote(entry.method)},"path":{_quote(path)},"status":{entry.status}'
            f',"bytes_in":{entry.bytes_in},"bytes_out":{entry.bytes_out}'
            f',"duration_ms":{entry.duration_ms:.2f}'
        )
        for name in _OPTIONAL:
            value = getattr(entry, name)
            if value:
                text += f',"{name}":{_quote(value)}'
        if entry.error:
            text += f',"error":{_quote(entry.error)}'
        return text + "}\n"


def stderr_write(data: bytes) -> None:
    """All of `data` is on standard error, unbuffered; raises OSError when it cannot be."""
    view = memoryview(data)
    while view:
        view = view[os.write(2, view) :]
