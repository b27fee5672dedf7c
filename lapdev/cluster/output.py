"""What a pod's processes print: the last lines in memory, more of it in bounded files.

A line in a file is `<seconds since 1970, six decimals> <text>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from lapdev.log import get_logger

TAIL_LINES = 200
MOST_LINES = 10_000
LINE_BYTES = 16 * 1024
FILE_BYTES = 1024 * 1024
"""Twice this much is kept on disk: the current file and the one before it."""
READ_BYTES = 16 * 1024
"""Taken at once: a container that prints without end shares the loop with all others."""
PIPE_BYTES = 64 * 1024
"""What a pipe holds: nothing that a process printed before it ended lies beyond that."""

Line = tuple[float, str]
"""When it was printed (seconds since 1970), and the text without its end."""
Follower = Callable[[float, str], None]


class Output:
    """Takes a container's standard output and error, line by line, over all its restarts."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.taken = 0
        """How many lines have been taken: a mark to ask `since` with."""
        self._tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self._followers: list[Follower] = []
        self._pipes: set[_Pipe] = set()
        self._size = 0
        self._stream = -1

    def open(self) -> None:
        """Processes can write. Idempotent. Raises OSError when no file can be made."""
        if self._stream < 0:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._new_file()

    def close(self) -> None:
        """What was printed until now is taken, and nothing more; it stays readable. Idempotent."""
        for pipe in list(self._pipes):
            pipe.settle()
            pipe.close()
        if self._stream >= 0:
            os.close(self._stream)
            self._stream = -1

    # Taking lines

    @contextlib.contextmanager
    def writer(self) -> Iterator[int]:
        """A descriptor for one process to write to; ours is closed when the block is left."""
        read_end, write_end = os.pipe()
        try:
            self._pipes.add(_Pipe(read_end, self._take, self._pipes.discard))
            yield write_end
        finally:
            os.close(write_end)

    def settle(self) -> None:
        """All that ended processes printed is taken, an unfinished last line too."""
        for pipe in list(self._pipes):
            pipe.settle()

    def note(self, text: str) -> None:
        """A line of our own about the process."""
        self._take([f"lapdev: {text}".encode()])

    def _take(self, lines: list[bytes]) -> None:
        now = round(time.time(), 6)  # as the files have it
        self.taken += len(lines)
        # What only memory is for is not worth reading when more than it holds follows.
        texts = [_text(line) for line in (lines if self._followers else lines[-TAIL_LINES:])]
        self._tail.extend((now, text) for text in texts)
        for follower in tuple(self._followers):
            self._tell(follower, now, texts)
        if self._stream >= 0:
            # A full disk costs lines in the file. The app that prints them must not notice.
            with contextlib.suppress(OSError):
                stamp = b"%.6f " % now
                self._write(stamp + (b"\n" + stamp).join(lines) + b"\n")

    def _tell(self, follower: Follower, now: float, texts: list[str]) -> None:
        try:
            for text in texts:
                follower(now, text)
        except Exception:
            # A reader's mistake must not cost the container its output.
            get_logger().exception("output_follower_failed", target=str(self.file))
            self._unfollow(follower)

    def _write(self, lines: bytes) -> None:
        if self._size > FILE_BYTES:
            self.file.replace(self._older())
            full, self._stream = self._stream, self._new_file()
            os.close(full)
        self._size += os.write(self._stream, lines)

    def _new_file(self) -> int:
        self._size = 0
        return os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def _older(self) -> Path:
        return self.file.with_suffix(".log.1")

    # Reading lines

    def last(self, lines: int) -> list[Line]:
        """The last lines, at most `MOST_LINES`; from the files what memory no longer has."""
        lines = max(0, min(lines, MOST_LINES))
        kept = list(self._tail)
        if lines > len(kept) == TAIL_LINES:
            # Fewer than in memory where the disk is full.
            kept = max(kept, self._from_files(lines), key=len)
        return kept[len(kept) - min(lines, len(kept)) :]

    def since(self, mark: int) -> list[str]:
        """What has been printed since `taken` was `mark`, as far as memory has it."""
        new = min(self.taken - mark, len(self._tail))
        return [text for _, text in list(self._tail)[len(self._tail) - new :]]

    def follow(self, callback: Follower) -> Callable[[], None]:
        """`callback` hears every further line until what this returns is called.

        It runs on the way of every line and must not wait for anything: one that queues lines for
        a slow reader drops some. One that raises hears no more.
        """
        self._followers.append(callback)
        return lambda: self._unfollow(callback)

    def _unfollow(self, callback: Follower) -> None:
        with contextlib.suppress(ValueError):
            self._followers.remove(callback)

    def _from_files(self, lines: int) -> list[Line]:
        found: deque[Line] = deque(maxlen=lines)
        for file in (self._older(), self.file):
            with contextlib.suppress(OSError):  # not rotated yet, or the pod's folder is gone
                found.extend(_parse(line) for line in file.read_bytes().split(b"\n")[:-1])
        return list(found)


def _parse(line: bytes) -> Line:
    stamp, _, text = line.partition(b" ")
    try:
        when = float(stamp)
    except ValueError:  # cut off by a full disk
        when = 0.0
    return when, _text(text)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode(errors="replace")


class _Pipe:
    """What one process, and those it starts, write to; ends when all of them have."""

    def __init__(
        self, fd: int, take: Callable[[list[bytes]], None], ended: Callable[[_Pipe], None]
    ) -> None:
        self._fd = fd
        self._take = take
        self._ended = ended
        self._partial = b""
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._readable)

    def settle(self) -> None:
        for _ in range(PIPE_BYTES // READ_BYTES):
            self._readable()
        self._flush()

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._flush()
            self._ended(self)

    def _readable(self) -> None:
        if self._fd < 0:
            return
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._feed(data)
        else:
            self.close()

    def _feed(self, data: bytes) -> None:
        *lines, rest = (self._partial + data).split(b"\n")
        lines += [rest] if len(rest) >= LINE_BYTES else []
        self._partial = b"" if len(rest) >= LINE_BYTES else rest
        if lines:
            self._take([line[:LINE_BYTES] for line in lines])

    def _flush(self) -> None:
        rest, self._partial = self._partial, b""
        if rest:
            self._take([rest])
