"""One reader of what a workload's containers print, over all its pods as they come and go.

Costs nothing where nobody reads. Lines wait in a bounded queue: a container never waits for a
reader, and a reader that is too slow is told how much it missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from lapdev.cluster.driver import LogQuery
from lapdev.cluster.output import Output
from lapdev.cluster.pod import SIDECAR_NAME, Pod
from lapdev.model import LogLine

QUEUE_LINES = 2000
QUEUE_CHARACTERS = 1024 * 1024


class LogReader:
    """Read `backlog` and then, to follow, `lines`, with `attach` at every change of the pods.

    `close` when done.
    """

    def __init__(self, query: LogQuery) -> None:
        self.query = query
        self._attached: dict[Output, Callable[[], None]] = {}
        """What is read → how to stop that."""
        self._queue: deque[LogLine] = deque()
        self._characters = 0
        self._missed = 0
        self._missed_at: LogLine | None = None
        self._arrived = asyncio.Event()
        self._closed = False
        self._reason: Exception | None = None

    async def backlog(self, pods: Iterable[Pod]) -> list[LogLine]:
        """What the pods have printed already, as much as was asked for, by time.

        To follow, their further lines are read from here on: none is lost between, none comes
        twice.
        """
        found: list[LogLine] = []
        for pod, container, output in list(self._outputs(pods)):
            lines = output.last(self.query.lines)
            if self.query.follow:
                self._attach(output, pod.name, container, fresh=False)
            found += (LogLine(time, pod.name, container, text) for time, text in lines)
            await asyncio.sleep(0)  # thousands of lines come from files, and others wait meanwhile
        return sorted(found, key=lambda line: line.time)

    def attach(self, pods: Iterable[Pod]) -> None:
        """Lines of these pods are read, and of no others; of containers that are new, all."""
        current = {output: (pod, name) for pod, name, output in self._outputs(pods)}
        for output in self._attached.keys() - current.keys():
            self._attached.pop(output)()
        for output, (pod, name) in current.items():
            if output not in self._attached:
                self._attach(output, pod.name, name, fresh=True)

    async def lines(self) -> AsyncIterator[LogLine]:
        """Ends after `close`, when what had been read by then is given out; with its reason."""
        while True:
            while self._queue:
                line = self._queue.popleft()
                self._characters -= len(line.text)
                yield line
            if self._missed_at is not None:
                yield self._missed_line()
            elif self._reason is not None:
                raise self._reason
            elif self._closed:
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def close(self, reason: Exception | None = None) -> None:
        """Nothing more is read, and who reads is told why. Idempotent: the first reason counts."""
        if not self._closed:
            self._closed, self._reason = True, reason
        for unfollow in self._attached.values():
            unfollow()
        self._attached.clear()
        self._arrived.set()

    def _attach(self, output: Output, pod: str, container: str, *, fresh: bool) -> None:
        def take(time: float, text: str) -> None:
            self._push(LogLine(time, pod, container, text))

        if self._closed:
            return
        self._attached[output] = output.follow(take)
        for time, text in output.last(QUEUE_LINES) if fresh else ():
            take(time, text)

    def _push(self, line: LogLine) -> None:
        full = len(self._queue) >= QUEUE_LINES or self._characters > QUEUE_CHARACTERS
        if full:
            self._missed += 1
            self._missed_at = line
        else:
            # Where the gap is, it is told.
            for entry in (*([self._missed_line()] if self._missed_at else []), line):
                self._queue.append(entry)
                self._characters += len(entry.text)
        self._arrived.set()

    def _missed_line(self) -> LogLine:
        last, count = self._missed_at, self._missed
        assert last is not None
        self._missed_at, self._missed = None, 0
        lines = "1 line was" if count == 1 else f"{count} lines were"
        return LogLine(last.time, last.pod, last.container, f"lapdev: {lines} missed here")

    def _outputs(self, pods: Iterable[Pod]) -> Iterator[tuple[Pod, str, Output]]:
        asked = self.query.container
        for pod in pods:
            for container in pod.containers:
                if asked in ("", container.name):
                    yield pod, container.name, container.output
            if pod.sidecar is not None and asked == SIDECAR_NAME:
                yield pod, SIDECAR_NAME, pod.sidecar.output
