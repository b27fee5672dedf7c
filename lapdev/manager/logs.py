"""Streams the cloud opens to read what workloads print: checked, then a line of JSON for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

from lapdev.cluster.driver import Driver, LogQuery
from lapdev.errors import LapdevError, NotFound
from lapdev.log import AccessLine, AccessLog
from lapdev.model import EnvironmentId, LogLine
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.wire.control import LogsTarget

FindLogs = Callable[[LogsTarget], tuple[str, LogQuery]]


class LogStreams:
    """Sends what the cloud asks for, as far as `find` lets it."""

    def __init__(
        self, driver: Driver, tasks: Tasks, find: FindLogs, access_log: AccessLog | None = None
    ) -> None:
        """`find(target)` gives the namespace and what to read there, or raises the refusal."""
        self._driver = driver
        self._tasks = tasks
        self._find = find
        self._access_log = access_log
        self._readers: dict[EnvironmentId, set[_Reader]] = {}

    @property
    def active(self) -> int:
        """Streams open, or being opened."""
        return sum(map(len, self._readers.values()))

    def end(self, environment: EnvironmentId) -> None:
        """Nobody follows the environment any more: it is going."""
        for reader in list(self._readers.get(environment, ())):
            reader.stream.reset(NotFound("the environment is being deleted", hop="manager"))

    def open(self, stream: Stream, target: LogsTarget) -> None:
        """The stream is being given its lines, or refused with the reason."""
        reader = _Reader(stream)
        self._readers.setdefault(target.environment, set()).add(reader)
        carrying = self._tasks.spawn(self._carry(reader, target), f"logs-{stream.stream_id}")
        # Also where it is cancelled before it begins.
        carrying.add_done_callback(lambda _: self._closed(reader, target))
        reader.on_lost = carrying.cancel

    async def _carry(self, reader: _Reader, target: LogsTarget) -> None:
        line = AccessLine(method="LOGS", environment=target.environment, workload=target.workload)
        started = asyncio.get_running_loop().time()
        try:
            namespace, query = self._find(target)
            reader.stream.accept(reader)
            await _send(reader, self._driver.logs(namespace, query))
        except LapdevError as exc:
            line.error = exc.cause
            reader.stream.reset(exc)  # before it was accepted, that is a refusal
        except asyncio.CancelledError:
            line.error = "" if target.follow else "stream_reset"  # how following ends
            reader.stream.abort()
            raise
        except Exception:
            line.error = "internal_error"
            reader.stream.abort()
            raise
        finally:
            line.bytes_out = reader.sent_bytes
            line.duration_ms = (asyncio.get_running_loop().time() - started) * 1000
            if self._access_log is not None:
                self._access_log.line(line)

    def _closed(self, reader: _Reader, target: LogsTarget) -> None:
        readers = self._readers[target.environment]
        readers.discard(reader)
        if not readers:
            del self._readers[target.environment]


async def _send(reader: _Reader, lines: AsyncIterator[LogLine]) -> None:
    """Every line is on its way, and the end after them."""
    async with AsyncExitStack() as stack:
        # The driver follows no pod for nobody.
        if (aclose := getattr(lines, "aclose", None)) is not None:
            stack.push_async_callback(aclose)
        async for line in lines:
            await reader.write(encode_line(line))
    reader.stream.close()


def encode_line(line: LogLine) -> bytes:
    """The line as it travels: an object of ASCII, whatever the program printed."""
    fields = {
        "time": line.time,
        "pod": line.pod,
        "container": line.container,
        "text": line.text,
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class _Reader(asyncio.Protocol):
    """Our end of the cloud's stream."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sent_bytes = 0
        self.on_lost: Callable[[], object] = lambda: None
        self._room = asyncio.Event()
        self._room.set()

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. Cancelled when the reader is gone."""
        self.stream.write(data)
        self.sent_bytes += len(data)
        await self._room.wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        return

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def eof_received(self) -> bool:
        return True  # whoever asks has nothing more to say, and listens on

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()
