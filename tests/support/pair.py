"""Two wire machines wired together: a dialogue without sockets.

`Pair` joins a dialling and an accepting `MuxConnection`. Messages wait on the wire until they are
delivered, and what waits when the connection is cut is lost, as on a real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lapdev.wire.mux import MuxConnection, MuxOptions, MuxStream
from lapdev.wire.mux.events import DataReceived, EofReceived, Event, StreamOpened


@dataclass
class End:
    """One end with everything that happened to it."""

    mux: MuxConnection
    wire: list[bytes] = field(default_factory=list)
    """Messages it has sent that the other end has not received yet."""
    events: list[Event] = field(default_factory=list)
    received: dict[int, bytearray] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Streams whose peer has ended its direction."""
    opened: list[MuxStream] = field(default_factory=list)
    held: list[tuple[MuxStream, int]] = field(default_factory=list)
    """Bytes received and not yet consumed, if `reading` is off."""
    reading: bool = True
    accepting: bool = True

    def take(self, events: list[Event]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, StreamOpened):
                self.opened.append(event.stream)
                if self.accepting:
                    self.mux.accept(event.stream)
            elif isinstance(event, DataReceived):
                self.received.setdefault(event.stream.stream_id, bytearray()).extend(event.data)
                if self.reading:
                    self.mux.consumed(event.stream, len(event.data))
                else:
                    self.held.append((event.stream, len(event.data)))
            elif isinstance(event, EofReceived):
                self.ended.add(event.stream.stream_id)

    def consume_held(self) -> None:
        for stream, size in self.held:
            self.mux.consumed(stream, size)
        self.held.clear()

    def happened(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Pair:
    """A dialler and an acceptor, connected."""

    def __init__(self, options: MuxOptions | None = None) -> None:
        options = options or MuxOptions()
        self.dialler = End(MuxConnection(dialler=True, options=options))
        self.acceptor = End(MuxConnection(dialler=False, options=options))
        self.now = 0.0
        self.connect(resumed=False)

    def other(self, end: End) -> End:
        return self.acceptor if end is self.dialler else self.dialler

    def connect(self, *, resumed: bool = True) -> None:
        for end in (self.dialler, self.acceptor):
            end.mux.attach(0, self.now, resumed=resumed)

    def cut(self) -> None:
        """The connection breaks: what is on the wire is lost."""
        for end in (self.dialler, self.acceptor):
            end.wire.clear()
            end.mux.detach(0)

    def flush(self, end: End) -> None:
        end.wire.extend(end.mux.data_to_send(0))

    def deliver(self, end: End, messages: int = 1) -> None:
        """The other end receives up to that many of `end`'s messages."""
        other = self.other(end)
        for message in end.wire[:messages]:
            other.mux.heard(0, self.now)
            other.take(other.mux.receive_data(0, message))
        del end.wire[:messages]

    def settle(self) -> None:
        """Everything is sent and received until nothing more happens."""
        for _ in range(100_000):
            for end in (self.dialler, self.acceptor):
                self.flush(end)
                self.deliver(end, len(end.wire))
            for end in (self.dialler, self.acceptor):
                self.flush(end)
            if not self.dialler.wire and not self.acceptor.wire:
                return
        raise AssertionError("the two never fall silent")

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for end in (self.dialler, self.acceptor):
            end.take(end.mux.handle_timeout(self.now))
