"""What clients did and saw, operation by operation: the checker judges nothing else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    GET = "get"
    POST = "post"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    WEBSOCKET = "websocket"
    TCP = "tcp"


SHORT = (Kind.GET, Kind.POST)
STREAMS = (Kind.DOWNLOAD, Kind.UPLOAD, Kind.WEBSOCKET, Kind.TCP)


class Outcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    """An answer that says no: 502, 503, 504."""
    CUT = "cut"
    """The connection ended before the answer was complete, and the client could tell."""
    WRONG = "wrong"
    """A byte that is not the stream's own at its offset."""
    TRUNCATED = "truncated"
    """Too little, presented as complete."""
    STOPPED = "stopped"
    """Ended by the load itself, after all of it so far was right."""


@dataclass(slots=True)
class Operation:
    kind: Kind
    name: str
    begun: float
    ended: float = 0.0
    outcome: Outcome | None = None
    status: int = 0
    detail: str = ""
    moved: int = 0
    """Bytes compared, of both directions."""
    moved_at: float = 0.0
    """When the last of them came."""
    tenant: str = "main"

    @property
    def seconds(self) -> float:
        return self.ended - self.begun

    def progress(self, size: int) -> None:
        self.moved += size
        self.moved_at = time.monotonic()


@dataclass(slots=True)
class Fault:
    """What was done, and from when to when it lasted."""

    name: str
    begun: float
    ended: float = 0.0

    def overlaps(self, begun: float, ended: float, after: float = 0.0) -> bool:
        """Something of the time from `begun` to `ended` lies in it, or `after` seconds behind."""
        return begun <= self.ended + after and ended >= self.begun


@dataclass(slots=True)
class History:
    """Of one run. Times are of time.monotonic()."""

    operations: list[Operation] = field(default_factory=list)
    """Those that have ended, in the order they did."""
    running: dict[int, Operation] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an operation ends."""

    def begin(self, kind: Kind, name: str, tenant: str = "main") -> Operation:
        operation = Operation(kind, name, time.monotonic(), tenant=tenant)
        operation.moved_at = operation.begun
        self.running[id(operation)] = operation
        return operation

    def end(self, operation: Operation, outcome: Outcome, detail: str = "") -> None:
        operation.ended = time.monotonic()
        operation.outcome = outcome
        operation.detail = detail
        self.running.pop(id(operation), None)
        self.operations.append(operation)
        self.changed.set()

    def begin_fault(self, name: str) -> Fault:
        fault = Fault(name, time.monotonic())
        self.faults.append(fault)
        return fault

    def streams(self) -> list[Operation]:
        """Transfers, WebSockets and raw TCP that run now."""
        return [each for each in self.running.values() if each.kind in STREAMS]
