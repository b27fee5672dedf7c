"""Two wire machines wired together: a dialogue without sockets.

`Pair` joins a dialling and an accepting `MuxConnection`. Messages wait on the wire until they are
delivered, and what waits when the connection is cut is lost, as on a real one. They begin with
link 0; further links are connected, cut and delivered by number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lapdev.wire.mux import MuxConnection, MuxOptions, MuxStream, WindowBudget
from lapdev.wire.mux.events import (
    DataReceived,
    EofReceived,
    Event,
    LinkSuperseded,
    StreamOpened,
)


@dataclass
class End:
    """One end with everything that happened to it."""

    mux: MuxConnection
    wires: dict[int, list[bytes]] = field(default_factory=lambda: {0: []})
    """By link: messages it has sent that the other end has not received yet."""
    events: list[Event] = field(default_factory=list)
    received: dict[int, bytearray] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Streams whose peer has ended its direction."""
    opened: list[MuxStream] = field(default_factory=list)
    held: list[tuple[MuxStream, int]] = field(default_factory=list)
    """Bytes received and not yet consumed, if `reading` is off."""
    superseded: list[int] = field(default_factory=list)
    """Links whose connections it was told to close."""
    reading: bool = True
    accepting: bool = True

    @property
    def wire(self) -> list[bytes]:
        return self.wires[0]

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
            elif isinstance(event, LinkSuperseded):
                self.superseded.append(event.link)

    def consume_held(self) -> None:
        for stream, size in self.held:
            self.mux.consumed(stream, size)
        self.held.clear()

    def happened(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Pair:
    """A dialler and an acceptor, connected."""

    def __init__(
        self, options: MuxOptions | None = None, budget: WindowBudget | None = None
    ) -> None:
        """`budget` is the acceptor's."""
        options = options or MuxOptions()
        self.dialler = End(MuxConnection(dialler=True, options=options))
        self.acceptor = End(MuxConnection(dialler=False, options=options, budget=budget))
        self.now = 0.0
        self.connect(resumed=False)

    def other(self, end: End) -> End:
        return self.acceptor if end is self.dialler else self.dialler

    def ends(self) -> tuple[End, End]:
        return self.dialler, self.acceptor

    def connect(self, link: int = 0, *, resumed: bool = True) -> None:
        for end in self.ends():
            end.wires[link] = []
            end.mux.attach(link, self.now, resumed=resumed)

    def cut(self, link: int = 0) -> None:
        """The connection breaks: what is on the wire is lost."""
        for end in self.ends():
            end.wires[link].clear()
            end.mux.detach(link)

    def flush(self, end: End) -> None:
        for link in end.mux.links:
            end.wires[link].extend(end.mux.data_to_send(link))

    def deliver(self, end: End, messages: int = 1, link: int = 0) -> None:
        """The other end receives up to that many of `end`'s messages on that link."""
        other, wire = self.other(end), end.wires[link]
        due, wire[:messages] = wire[:messages], []
        for message in due:
            other.mux.heard(link, self.now)
            other.take(other.mux.receive_data(link, message))

    def settle(self) -> None:
        """Everything is sent and received until nothing more happens."""
        for _ in range(100_000):
            for end in self.ends():
                self.flush(end)
                for link, wire in end.wires.items():
                    self.deliver(end, len(wire), link)
            for end in self.ends():
                self.flush(end)
            if not any(wire for end in self.ends() for wire in end.wires.values()):
                return
        raise AssertionError("the two never fall silent")

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for end in (self.dialler, self.acceptor):
            end.take(end.mux.handle_timeout(self.now))
