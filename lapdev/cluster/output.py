"""What a pod's processes print: the last lines in memory, more of it in bounded files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path

TAIL_LINES = 200
LINE_BYTES = 16 * 1024
FILE_BYTES = 1024 * 1024
"""Twice this much is kept on disk: the current file and the one before it."""


class Output(asyncio.Protocol):
    """Takes a container's standard output and error, line by line, over all its restarts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.fd = -1
        """The end that processes write to."""
        self._partial = b""
        self._size = 0
        self._stream = -1
        self._transport: asyncio.BaseTransport | None = None

    async def open(self) -> None:
        """Processes can write. Idempotent."""
        if self._transport is not None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._new_file()
        read_end, self.fd = os.pipe()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: self, os.fdopen(read_end, "rb", buffering=0)
        )

    def close(self) -> None:
        """Nothing more is taken. Idempotent."""
        if self._transport is not None:
            self._transport.close()
            os.close(self.fd)
            os.close(self._stream)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._partial + data).split(b"\n")
        if len(rest) > LINE_BYTES:
            lines.append(rest)
            rest = b""
        self._partial = rest
        for line in lines:
            self._take(line[:LINE_BYTES])

    def note(self, text: str) -> None:
        """A line of our own about the process."""
        self._take(f"lapdev: {text}".encode())

    def last(self, lines: int) -> list[str]:
        return list(self.tail)[-lines:] if lines > 0 else []

    def _take(self, line: bytes) -> None:
        self.tail.append(line.decode(errors="replace"))
        if self._transport is None:
            return
        # A full disk costs lines in the file. The app that prints them must not notice.
        with contextlib.suppress(OSError):
            self._write(line)

    def _write(self, line: bytes) -> None:
        if self._size > FILE_BYTES:
            self.file.replace(self.file.with_suffix(".log.1"))
            full, self._stream = self._stream, self._new_file()
            os.close(full)
        self._size += os.write(self._stream, line + b"\n")

    def _new_file(self) -> int:
        self._size = 0
        return os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
