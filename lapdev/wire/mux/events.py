"""What a `MuxConnection` tells its owner. One object per fact, unfrozen by convention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lapdev.wire.mux.frames import Payload
from lapdev.wire.mux.stream import MuxStream


@dataclass(slots=True)
class StreamOpened:
    """The peer opened a stream. Answer with `accept` or `reset`."""

    stream: MuxStream
    target: dict[str, Any]


@dataclass(slots=True)
class StreamAccepted:
    stream: MuxStream


@dataclass(slots=True)
class DataReceived:
    """Call `consumed` once the bytes have been taken: it is what lets the peer send more."""

    stream: MuxStream
    data: Payload


@dataclass(slots=True)
class DatagramReceived:
    """One datagram, whole. Others may have been lost before it; it has no credit to give back."""

    stream: MuxStream
    data: bytes


@dataclass(slots=True)
class EofReceived:
    """The peer ended its direction; everything it sent has been delivered."""

    stream: MuxStream


@dataclass(slots=True)
class StreamEnded:
    """The stream was aborted by the peer, or lost with it. Nothing more comes or goes."""

    stream: MuxStream
    cause: str
    detail: str
    refused: bool
    """It was never accepted."""


@dataclass(slots=True)
class CallReceived:
    """Answer with `reply`."""

    call_id: int
    name: str
    body: dict[str, Any]


@dataclass(slots=True)
class ReplyReceived:
    call_id: int
    ok: bool
    body: dict[str, Any]


@dataclass(slots=True)
class GoAwayReceived:
    scope: int
    drain_seconds: int
    reason: str
    link: int
    """The link it came on, which is the one that scope LINK is about."""


@dataclass(slots=True)
class Resumed:
    """Both ends know again where the streams of `links` stand; they go on over `link`."""

    link: int
    links: tuple[int, ...]


@dataclass(slots=True)
class LinkSuperseded:
    """The peer has moved this link's streams: its connection is to be closed, with 4410."""

    link: int


@dataclass(slots=True)
class ConnectionDead:
    """The peer has been silent for too long on this link, which waits for its next connection."""

    link: int


Event = (
    StreamOpened
    | StreamAccepted
    | DataReceived
    | DatagramReceived
    | EofReceived
    | StreamEnded
    | CallReceived
    | ReplyReceived
    | GoAwayReceived
    | Resumed
    | LinkSuperseded
    | ConnectionDead
)
