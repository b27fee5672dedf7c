"""What workloads print, from the manager's stream to an API client: whole lines, never parsed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lapdev.cloud.actions import LogSource
from lapdev.cloud.api_guard import error_response
from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.pairing import ACCEPT_TIMEOUT
from lapdev.cloud.refusals import told
from lapdev.errors import ConnectTimeout, LapdevError, TunnelError
from lapdev.model import ClusterId
from lapdev.net.error_page import error_json
from lapdev.wire.control import LogsTarget

HELD_BYTES = 65_536
"""Bytes that wait for a slow client; above, the manager is made to wait."""

LINE_BYTES = 1_048_576
"""What is longer without a line's end is passed on as it is."""


class LogLines(asyncio.Protocol):
    """The reading end of a stream of lines. Whoever holds it closes it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._rest = b""
        """A line whose end has not come yet."""
        self._ended = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    async def next_lines(self) -> bytes:
        """Whole lines, at least one; empty when there are no more.

        What ended them before their end is told in a last line of ours: `{"error": {…}}`.
        """
        while not self._pieces:
            if self._ended:
                error, self._error = self._error, None
                return b"" if error is None else error_json(told(error))
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        if not self._ended:
            self._transport.resume_reading()
        return data

    def close(self, error: Exception | None = None) -> None:
        """The other end stops sending; the reader is told `error`. Idempotent."""
        if not self._ended:
            self._transport.abort()
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        self._ended = True
        self._error = error
        self._changed.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        if len(rest) > LINE_BYTES:
            whole, end, rest = whole + end + rest, b"", b""
        self._rest = rest
        if not whole and not end:
            return
        self._pieces.append(whole + end)
        self._held_bytes += len(whole)
        if self._held_bytes > HELD_BYTES:
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        if self._rest:
            self._pieces.append(self._rest + b"\n")
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._end(exc or TunnelError("the cluster ended the log without a word"))


class LogReaders:
    """Opens streams of lines, and ends them all when the cloud stops."""

    def __init__(self, clusters: ClusterLinks) -> None:
        self._clusters = clusters
        self._open: set[LogLines] = set()

    async def open(self, cluster: ClusterId, target: LogsTarget) -> LogLines:
        """The lines of the target, which its manager has agreed to send.

        Raises:
            NotReady: the cluster is away.
            LapdevError: the manager refused, and says why.
        """
        tunnel = await self._clusters.wait_tunnel(cluster)
        lines = LogLines()
        stream = tunnel.open_stream(target, lines)
        try:
            async with asyncio.timeout(ACCEPT_TIMEOUT):
                await stream.wait_accepted()
        except TimeoutError as exc:
            lines.close()
            raise ConnectTimeout("the cluster did not answer in time", hop="cloud") from exc
        except LapdevError as exc:
            raise told(exc) from exc
        except BaseException:
            lines.close()
            raise
        self._open.add(lines)
        return lines

    def closed(self, lines: LogLines) -> None:
        """Nobody reads these any more."""
        lines.close()
        self._open.discard(lines)

    def stop(self) -> None:
        """Every reader has had its last line: a log that is followed never ends by itself."""
        for lines in list(self._open):
            lines.close(TunnelError("the cloud is stopping", hint="follow again in a moment"))


class LogResponse(Response):
    """Lines as they come. However it ends, their stream ends with it."""

    media_type = "application/x-ndjson"

    def __init__(self, readers: LogReaders, source: LogSource) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self.headers["lapdev-logs-environment"] = source.environment.name
        self._readers = readers
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            lines = await self._readers.open(self._source.environment.cluster, self._source.target)
        except LapdevError as exc:
            await error_response(exc)(scope, receive, send)
            return
        try:
            await self._send(lines, send)
        finally:
            self._readers.closed(lines)

    async def _send(self, lines: LogLines, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        # At once: whoever follows a silent workload shall know that it is followed.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while data := await lines.next_lines():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
