"""Two ends of a session against each other, while links are lost, re-dialled and moved at random.

Everything is decided by one seeded generator: what the apps do, which message arrives next, which
end notices a loss first, which messages are lost with it. What must hold: every byte arrives, once,
in order and on its own stream; nothing ends that nobody ended; and when losses stop, every stream
comes to its end and is forgotten by both.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from lapdev.wire.mux import LivenessOptions, MuxConnection, MuxOptions, MuxStream
from lapdev.wire.mux.events import (
    CallReceived,
    ConnectionDead,
    DatagramReceived,
    DataReceived,
    EofReceived,
    Event,
    LinkSuperseded,
    ReplyReceived,
    StreamEnded,
    StreamOpened,
)

OPTIONS = MuxOptions(
    stream_window=1_024,
    session_window=4_096,
    max_streams=40,
    max_pending=8,
    credit_delay=0.5,
    liveness=LivenessOptions(),
)
DIALLER, ACCEPTOR = 0, 1


def keyed(stream: int, sender: int, offset: int, size: int) -> bytes:
    """The bytes of one direction of a stream: each is decided by its place."""
    base = stream * 31 + sender * 97
    return bytes((base + place + place // 251) & 0xFF for place in range(offset, offset + size))


@dataclass
class Connection:
    """One websocket between the two: messages on their way, and who still believes in it."""

    link: int
    number: int
    wires: tuple[deque[bytes], deque[bytes]] = field(default_factory=lambda: (deque(), deque()))
    """By sender: what it has sent that has not arrived."""
    welcomed: bool = False
    """The dialler has its WELCOME."""
    broken: bool = False
    """Nothing more arrives; an end that still believes in it will notice."""


@dataclass
class Direction:
    """What one end knows of one direction of a stream."""

    written: int = 0
    finished: bool = False
    datagrams: int = 0
    """How many were sent; each says which one it is."""
    last_datagram: int = 0
    """The newest that came: none comes twice, and none after a newer one."""
    received: int = 0
    eof: bool = False


@dataclass
class End:
    """One end and its app."""

    side: int
    mux: MuxConnection
    connections: dict[int, Connection] = field(default_factory=dict)
    """By link: those this end believes in."""
    streams: dict[int, MuxStream] = field(default_factory=dict)
    """What the app still has in its hands."""
    held: list[tuple[MuxStream, int]] = field(default_factory=list)
    waiting: list[MuxStream] = field(default_factory=list)
    """Opened by the peer and not answered yet."""
    calls: list[int] = field(default_factory=list)
    asked: int = 0
    answered: int = 0


class TwoEnds:
    """A session of up to `links` links; `step` does one thing at random."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.links = self.random.randrange(1, 5)
        self.now = 0.0
        self.ends = tuple(
            End(side, MuxConnection(dialler=side == DIALLER, options=OPTIONS))
            for side in (DIALLER, ACCEPTOR)
        )
        self.directions: dict[tuple[int, int], Direction] = {}
        """By (stream, side of the sender)."""
        self.ended: dict[int, str] = {}
        """Streams that one of the two has reset, refused or turned its back on."""
        self.losses = self.dials = self.moves = 0
        self._dial(0, resumed=False)
        self._welcome(self.ends[ACCEPTOR].connections[0], resumed=False)

    # What may happen

    def step(self) -> None:
        choose = self.random
        end = choose.choice(self.ends)
        roll = choose.random()
        if roll < 0.45:
            self._deliver()
        elif roll < 0.70:
            self._app(end)
        elif roll < 0.90:
            self._flush(end)
        elif roll < 0.93:
            self._lose(choose.choice(self._standing()))
        elif roll < 0.96:
            self._dialling()
        elif roll < 0.975:
            self._move()
        elif roll < 0.985:
            self._pause(end)
        else:
            self._advance(choose.choice((0.1, 0.6, 3.0)))

    def settle(self) -> None:
        """Losses stop: every link comes back, apps finish what they have, all must come to rest."""
        for number in range(400):
            for end in self.ends:
                self._finish_everything(end)
            for link in range(self.links):
                if not self._trustworthy(link):
                    self._dial_again(link)
            for _ in range(50):
                self._deliver()
            for end in self.ends:
                for link in end.mux.links:
                    end.mux.resume(link)
                self._flush(end)
            if number % 10 == 9:
                self._advance(0.6)
            if self._at_rest():
                break
        else:
            raise AssertionError(f"never at rest: {self._unfinished()}")
        for (stream, sender), direction in self.directions.items():
            if stream not in self.ended:
                assert direction.received == direction.written, f"stream {stream} of {sender}"
                assert direction.eof, f"stream {stream} of {sender} never ended"
        for end in self.ends:
            assert end.asked == end.answered, "a call was never answered"

    # Apps

    def _app(self, end: End) -> None:
        choose = self.random
        roll = choose.random()
        if roll < 0.15 and len(end.mux.streams) < OPTIONS.max_streams // 2:
            stream = end.mux.open({"kind": "service", "n": end.mux.next_stream_id})
            end.streams[stream.stream_id] = stream
        elif roll < 0.55 and end.streams:
            self._write(end, choose.choice(list(end.streams.values())))
        elif roll < 0.65 and end.streams:
            self._finish(end, choose.choice(list(end.streams.values())))
        elif roll < 0.85 and end.held:
            self._consume(end)
        elif roll < 0.92 and end.waiting:
            self._answer(end)
        elif roll < 0.95:
            end.asked += 1
            end.calls.append(end.mux.call("ReportCluster", {"n": end.asked}))
        elif roll < 0.98 and end.streams:
            self._datagram(end, choose.choice(list(end.streams.values())))
        elif roll < 0.99 and end.streams:
            self._abandon(end, choose.choice(list(end.streams.values())))

    def _write(self, end: End, stream: MuxStream) -> None:
        mine = self._direction(stream, end.side)
        if mine.finished or stream.stream_id in self.ended or stream in end.waiting:
            return
        size = self.random.choice((1, 7, 100, 900, 3_000))
        data = keyed(stream.stream_id, end.side, mine.written, size)
        mine.written += size
        end.mux.write(stream, data)

    def _datagram(self, end: End, stream: MuxStream) -> None:
        mine = self._direction(stream, end.side)
        if mine.finished or stream.stream_id in self.ended or stream in end.waiting:
            return
        mine.datagrams += 1
        padding = bytes(self.random.choice((0, 50, 2_000)))
        end.mux.send_datagram(stream, mine.datagrams.to_bytes(4, "big") + padding)

    def _finish(self, end: End, stream: MuxStream) -> None:
        mine = self._direction(stream, end.side)
        if not mine.finished and stream.stream_id not in self.ended and stream not in end.waiting:
            mine.finished = True
            end.mux.finish(stream)

    def _consume(self, end: End, index: int | None = None) -> None:
        index = self.random.randrange(len(end.held)) if index is None else index
        stream, size = end.held.pop(index)
        part = self.random.randrange(1, size + 1)
        end.mux.consumed(stream, part)
        if part < size:
            end.held.append((stream, size - part))

    def _answer(self, end: End) -> None:
        stream = end.waiting.pop(self.random.randrange(len(end.waiting)))
        if self.random.random() < 0.15:
            self._end(stream, "refused")
            end.mux.reset(stream, "refused", "not here")
            end.streams.pop(stream.stream_id, None)
        else:
            end.mux.accept(stream)

    def _abandon(self, end: End, stream: MuxStream) -> None:
        if stream in end.waiting:
            return
        self._end(stream, "abandoned")
        if self.random.random() < 0.5:
            end.mux.reset(stream, "aborted")
        else:
            self._direction(stream, end.side).finished = True
            end.mux.discard(stream)
            end.mux.finish(stream)
        self._let_go(end, stream)

    def _finish_everything(self, end: End) -> None:
        while end.waiting:
            self._answer(end)
        while end.held:
            self._consume(end, 0)
        for stream in list(end.streams.values()):
            if stream.stream_id in self.ended:
                # Whoever turned its back may have left the other waiting for credit.
                end.mux.reset(stream, "aborted")
                self._let_go(end, stream)
            else:
                self._finish(end, stream)

    def _let_go(self, end: End, stream: MuxStream) -> None:
        end.streams.pop(stream.stream_id, None)
        end.held = [item for item in end.held if item[0] is not stream]

    def _end(self, stream: MuxStream, how: str) -> None:
        self.ended.setdefault(stream.stream_id, how)

    def _direction(self, stream: MuxStream, sender: int) -> Direction:
        return self.directions.setdefault((stream.stream_id, sender), Direction())

    # The wire

    def _flush(self, end: End) -> None:
        for link, connection in end.connections.items():
            if end.side == DIALLER and not connection.welcomed:
                continue
            budget = self.random.choice((0, 300, 2_000, 100_000))
            connection.wires[end.side].extend(end.mux.data_to_send(link, budget))

    def _deliver(self) -> None:
        """One message of one connection arrives, if its receiver still believes in it."""
        ready = [
            (connection, sender)
            for connection in self._standing()
            for sender in (DIALLER, ACCEPTOR)
            if connection.wires[sender] and not connection.broken
        ]
        if not ready:
            return
        connection, sender = self.random.choice(ready)
        end = self.ends[1 - sender]
        if end.connections.get(connection.link) is not connection:
            connection.wires[sender].popleft()  # to nobody
            return
        if end.side == DIALLER and not connection.welcomed:
            self._welcome(connection, resumed=True)
            return
        message = connection.wires[sender].popleft()
        end.mux.heard(connection.link, self.now)
        for event in end.mux.receive_data(connection.link, message):
            self._happened(end, event)

    def _happened(self, end: End, event: Event) -> None:
        match event:
            case StreamOpened(stream, target):
                assert target["n"] == stream.stream_id
                end.streams[stream.stream_id] = stream
                end.waiting.append(stream)
            case DataReceived(stream, data):
                theirs = self._direction(stream, 1 - end.side)
                wanted = keyed(stream.stream_id, 1 - end.side, theirs.received, len(data))
                assert data == wanted, f"wrong bytes on stream {stream.stream_id}"
                theirs.received += len(data)
                assert theirs.received <= theirs.written, "bytes nobody wrote"
                end.held.append((stream, len(data)))
            case DatagramReceived(stream, data):
                theirs = self._direction(stream, 1 - end.side)
                number = int.from_bytes(data[:4], "big")
                assert theirs.last_datagram < number <= theirs.datagrams, "a datagram, twice"
                assert len(data) in (4, 54, 2_004), "a datagram in pieces"
                theirs.last_datagram = number
            case EofReceived(stream):
                theirs = self._direction(stream, 1 - end.side)
                assert theirs.finished, "an end that was never written"
                assert not theirs.eof, "the end, twice"
                assert theirs.received == theirs.written, "the end before the last byte"
                theirs.eof = True
            case StreamEnded(stream, cause):
                # An id the peer refused for being one too many has been refused by its machine.
                if cause in ("too_many_streams", "too_many_pending"):
                    self._end(stream, cause)
                assert stream.stream_id in self.ended, f"ended by nobody: {event}"
                end.waiting = [one for one in end.waiting if one is not stream]
                self._let_go(end, stream)
            case CallReceived(call_id):
                end.mux.reply(call_id, True, {"n": call_id})
            case ReplyReceived(call_id):
                end.calls.remove(call_id)
                end.answered += 1
            case ConnectionDead(link) | LinkSuperseded(link):
                self._gone(end, link)
            case _:
                pass

    def _gone(self, end: End, link: int) -> None:
        """This end has closed the link's connection; the other hears of it later."""
        connection = end.connections.pop(link, None)
        end.mux.detach(link)
        if connection is not None:
            self._break(connection)

    def _lose(self, connection: Connection) -> None:
        """The connection breaks: some of what was under way still arrives, the rest is lost."""
        self.losses += 1
        self._break(connection)
        believers = [e for e in self.ends if e.connections.get(connection.link) is connection]
        self.random.shuffle(believers)
        for end in believers:
            if self.random.random() < 0.6:
                self._gone(end, connection.link)

    def _break(self, connection: Connection) -> None:
        if connection.broken:
            return
        connection.broken = True
        for sender in (DIALLER, ACCEPTOR):
            end, wire = self.ends[1 - sender], connection.wires[sender]
            arriving = self.random.randrange(len(wire) + 1)
            if end.side == DIALLER and not connection.welcomed:
                arriving = 0
            for _ in range(arriving):
                if end.connections.get(connection.link) is not connection or not wire:
                    break
                end.mux.heard(connection.link, self.now)
                for event in end.mux.receive_data(connection.link, wire.popleft()):
                    self._happened(end, event)
            wire.clear()

    def _standing(self) -> list[Connection]:
        """Every connection that at least one end believes in."""
        found = [c for end in self.ends for c in end.connections.values()]
        unique = {connection.number: connection for connection in found}
        return [unique[number] for number in sorted(unique)] or [Connection(0, -1)]

    def _trustworthy(self, link: int) -> bool:
        connection = self.ends[DIALLER].connections.get(link)
        return (
            connection is not None
            and not connection.broken
            and self.ends[ACCEPTOR].connections.get(link) is connection
        )

    def _dialling(self) -> None:
        link = self.random.randrange(self.links)
        if link not in self.ends[DIALLER].connections:
            self._dial(link, resumed=True)
        elif self.random.random() < 0.3:
            self._dial_again(link)

    def _dial_again(self, link: int) -> None:
        """The dialler notices, or gives up, and comes back."""
        if link in self.ends[DIALLER].connections:
            self._gone(self.ends[DIALLER], link)
        self._dial(link, resumed=True)

    def _dial(self, link: int, *, resumed: bool) -> None:
        """HELLO has reached the acceptor; its WELCOME is on its way."""
        self.dials += 1
        acceptor, dialler = self.ends[ACCEPTOR], self.ends[DIALLER]
        older = acceptor.connections.pop(link, None)
        connection = Connection(link, self.dials)
        acceptor.connections[link] = dialler.connections[link] = connection
        acceptor.mux.attach(link, self.now, resumed=resumed)
        if older is not None:
            self._break(older)

    def _welcome(self, connection: Connection, *, resumed: bool) -> None:
        connection.welcomed = True
        self.ends[DIALLER].mux.attach(connection.link, self.now, resumed=resumed)

    def _move(self) -> None:
        dialler = self.ends[DIALLER]
        live = list(dialler.mux.links)
        lost = [link for link in range(self.links) if link not in dialler.connections]
        if live and lost:
            self.moves += 1
            dialler.mux.move(self.random.choice(lost), self.random.choice(live))

    def _pause(self, end: End) -> None:
        for link in end.mux.links:
            self.random.choice((end.mux.pause, end.mux.resume))(link)

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends:
            for event in end.mux.handle_timeout(self.now):
                self._happened(end, event)

    def _at_rest(self) -> bool:
        return not self._unfinished()

    def _unfinished(self) -> list[Any]:
        left: list[Any] = []
        for end in self.ends:
            left += [(end.side, stream) for stream in end.mux.streams]
            left += [(end.side, "call", call) for call in end.calls]
        left += [c.number for c in self._standing() if any(c.wires)]
        return left


def run(seed: int, steps: int = 600) -> TwoEnds:
    """One session from beginning to end."""
    session = TwoEnds(seed)
    try:
        for _ in range(steps):
            session.step()
        session.settle()
    except Exception as exc:
        exc.add_note(f"seed {seed}, {session.links} links")
        raise
    return session
