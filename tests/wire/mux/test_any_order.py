"""Two ends with up to four links, and everything that can happen to them in any order.

Connections are lost in the middle of what they carry, one end notices before the other, the
dialler gives a connection up while what it sent there still arrives, a link comes back while its
streams are being moved. Whatever happens: every byte arrives once and in order, no credit leaks,
and both ends forget every stream.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lapdev.wire.mux import MuxConnection, MuxOptions, MuxStream
from lapdev.wire.mux.events import DatagramReceived, Event, LinkSuperseded, StreamEnded
from lapdev.wire.mux.frames import MAX_LINKS
from tests.support.pair import End

TARGET = {"kind": "x"}
OPTIONS = MuxOptions(
    stream_window=2_000, session_window=5_000, max_session_window=5_000, credit_delay=1.0
)
SIDES, LINKS = st.integers(0, 1), st.integers(0, MAX_LINKS - 1)
DIALLER, ACCEPTOR = 0, 1


@dataclass(eq=False)
class Connection:
    """What is under way, by the side that sent it."""

    wires: tuple[list[bytes], list[bytes]] = field(default_factory=lambda: ([], []))
    broken: bool = False


class Session(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ends = tuple(
            End(MuxConnection(dialler=side == DIALLER, options=OPTIONS)) for side in (0, 1)
        )
        self.current: tuple[dict[int, Connection], dict[int, Connection]] = ({}, {})
        """By side and link: the connection that end believes in."""
        self.now = 0.0
        self.rng = random.Random(0)
        self.written: dict[tuple[int, int], bytearray] = {}
        self.finished: set[tuple[int, int]] = set()
        self.datagrams: dict[tuple[int, int], list[bytes]] = {}
        self.excused: set[int] = set()
        """Streams that somebody reset, or did not want to hear any more."""
        first = Connection()
        for side, end in enumerate(self.ends):
            end.mux.attach(0, 0.0, resumed=False)
            self.current[side][0] = first

    @initialize(links=st.integers(1, MAX_LINKS), streams=st.integers(0, 6))
    def begin(self, links: int, streams: int) -> None:
        for link in range(1, links):
            self.come_back(link)
        for at in range(streams):
            self.open(at % 2)

    # Streams

    def pick(self, side: int, at: int) -> MuxStream | None:
        streams = [s for s in self.ends[side].mux.streams.values() if not s.reset_cause]
        return streams[at % len(streams)] if streams else None

    @rule(side=SIDES)
    def open(self, side: int) -> None:
        if len(self.ends[side].mux.streams) < 8:
            self.ends[side].mux.open(TARGET)

    @rule(side=SIDES, at=st.integers(0, 7), size=st.integers(1, 3_000))
    def write(self, side: int, at: int, size: int) -> None:
        stream = self.pick(side, at)
        if stream is not None and (side, stream.stream_id) not in self.finished:
            data = self.rng.randbytes(size)
            self.ends[side].mux.write(stream, data)
            self.written.setdefault((side, stream.stream_id), bytearray()).extend(data)

    @rule(side=SIDES, at=st.integers(0, 7), size=st.integers(0, 200))
    def send_datagram(self, side: int, at: int, size: int) -> None:
        stream = self.pick(side, at)
        if stream is not None:
            sent = self.datagrams.setdefault((side, stream.stream_id), [])
            sent.append(len(sent).to_bytes(4, "big") + bytes(size))
            self.ends[side].mux.send_datagram(stream, sent[-1])

    @rule(side=SIDES, at=st.integers(0, 7))
    def finish(self, side: int, at: int) -> None:
        stream = self.pick(side, at)
        if stream is not None:
            self.ends[side].mux.finish(stream)
            self.finished.add((side, stream.stream_id))

    @rule(side=SIDES, at=st.integers(0, 7), how=st.sampled_from(["reset", "discard"]))
    def give_up(self, side: int, at: int, how: str) -> None:
        stream = self.pick(side, at)
        if stream is None:
            return
        self.excused.add(stream.stream_id)
        if how == "reset":
            self.ends[side].mux.reset(stream, "aborted")
        else:
            self.ends[side].mux.discard(stream)

    @rule(side=SIDES)
    def stop_or_go_on_reading(self, side: int) -> None:
        self.ends[side].reading = not self.ends[side].reading

    @rule(side=SIDES)
    def consume(self, side: int) -> None:
        self.ends[side].consume_held()

    @rule()
    def time_passes(self) -> None:
        self.now += 0.7
        for end in self.ends:
            end.mux.handle_timeout(self.now)

    # Links

    @rule(side=SIDES, link=LINKS)
    def send(self, side: int, link: int) -> None:
        connection = self.current[side].get(link)
        if connection is not None:
            messages = self.ends[side].mux.data_to_send(link)
            if not connection.broken:
                connection.wires[side].extend(messages)

    @rule(side=SIDES, link=LINKS, count=st.integers(1, 3))
    def deliver(self, side: int, link: int, count: int) -> None:
        """To the other end, if it still believes in the connection."""
        connection = self.current[1 - side].get(link)
        if connection is None:
            return
        wire = connection.wires[side]
        due, wire[:count] = wire[:count], []
        end = self.ends[1 - side]
        for message in due:
            if self.current[1 - side].get(link) is not connection:
                break
            end.mux.heard(link, self.now)
            self.take(1 - side, end.mux.receive_data(link, message))

    def take(self, side: int, events: list[Event]) -> None:
        self.ends[side].take(events)
        for event in events:
            if isinstance(event, LinkSuperseded):
                assert side == ACCEPTOR
                self.current[side].pop(event.link).broken = True

    @rule(rounds=st.integers(1, 3), links=st.sets(LINKS, min_size=1))
    def exchange(self, rounds: int, links: set[int]) -> None:
        """What usually happens: everything is sent and arrives."""
        for _ in range(rounds):
            for side in (DIALLER, ACCEPTOR):
                for link in sorted(links):
                    self.send(side, link)
                    self.deliver(side, link, 99)

    @rule(sizes=st.lists(st.integers(1, 1_500), min_size=1, max_size=6), sides=st.sets(SIDES))
    def write_and_send(self, sizes: list[int], sides: set[int]) -> None:
        """It is under way on every link when something else happens."""
        for side in sorted(sides):
            for at, size in enumerate(sizes):
                self.write(side, at, size)
            for link in range(MAX_LINKS):
                self.send(side, link)

    @rule(link=LINKS, at=st.integers(0, 3))
    def lose_and_move(self, link: int, at: int) -> None:
        """As the dialler usually goes about it; the request leaves, and the answer does not yet."""
        self.lose(link)
        self.notice_or_give_up(DIALLER, link)
        if live := self.ends[DIALLER].mux.links:
            to = live[at % len(live)]
            self.ends[DIALLER].mux.move(link, to)
            self.send(DIALLER, to)

    @rule(link=LINKS)
    def come_back(self, link: int) -> None:
        self.hello(link)
        self.welcome(link)

    @rule(link=LINKS)
    def lose(self, link: int) -> None:
        """What is under way is gone; nobody knows yet."""
        for side in (DIALLER, ACCEPTOR):
            connection = self.current[side].get(link)
            if connection is not None:
                connection.broken = True
                for wire in connection.wires:
                    wire.clear()

    @rule(side=SIDES, link=LINKS)
    def notice_or_give_up(self, side: int, link: int) -> None:
        """At the other end what was sent before may still arrive."""
        if self.current[side].pop(link, None) is not None:
            self.ends[side].mux.detach(link)

    @rule(link=LINKS)
    def hello(self, link: int) -> None:
        """The acceptor takes a new connection of the link, which the dialler does not have."""
        if link in self.current[DIALLER]:
            return
        self.current[ACCEPTOR][link] = Connection()
        self.ends[ACCEPTOR].mux.attach(link, self.now, resumed=True)

    @rule(link=LINKS)
    def welcome(self, link: int) -> None:
        connection = self.current[ACCEPTOR].get(link)
        if link in self.current[DIALLER] or connection is None or connection.broken:
            return
        if connection.wires[DIALLER] or not self.is_fresh(link):
            return  # the dialler has had this one and given it up
        self.current[DIALLER][link] = connection
        self.ends[DIALLER].mux.attach(link, self.now, resumed=True)

    def is_fresh(self, link: int) -> bool:
        return not self.ends[ACCEPTOR].mux.table[link].settled

    @precondition(lambda self: self.current[DIALLER])
    @rule(link=LINKS, at=st.integers(0, 3))
    def move(self, link: int, at: int) -> None:
        live = self.ends[DIALLER].mux.links
        if link not in live:
            self.ends[DIALLER].mux.move(link, live[at % len(live)])

    # What is always true, and what is true in the end

    @invariant()
    def nothing_arrives_that_was_not_written(self) -> None:
        for side in (DIALLER, ACCEPTOR):
            for stream_id, got in self.ends[1 - side].received.items():
                assert self.written[side, stream_id].startswith(got)

    @invariant()
    def datagrams_arrive_whole_and_once_and_in_order(self) -> None:
        for side in (DIALLER, ACCEPTOR):
            arrived: dict[int, list[bytes]] = {}
            for event in self.ends[1 - side].events:
                if isinstance(event, DatagramReceived):
                    arrived.setdefault(event.stream.stream_id, []).append(event.data)
            for stream_id, got in arrived.items():
                sent = iter(self.datagrams[side, stream_id])
                assert all(datagram in sent for datagram in got)

    def settle(self) -> None:
        for _ in range(2_000):
            silent = True
            for side in (DIALLER, ACCEPTOR):
                for link, connection in list(self.current[side].items()):
                    self.send(side, link)
                    silent = silent and not connection.wires[side]
                    self.deliver(side, link, 99)
            if silent:
                return
        raise AssertionError("the two never fall silent")

    def teardown(self) -> None:
        used = set(self.ends[DIALLER].mux.table) | set(self.ends[ACCEPTOR].mux.table)
        if self.rng.random() < 0.5 and self.ends[DIALLER].mux.links:
            # What both believe in goes on; the dialler notices what does not, and moves it.
            for link in used:
                ours, theirs = (self.current[side].get(link) for side in (DIALLER, ACCEPTOR))
                if ours is None or ours.broken or ours is not theirs:
                    self.notice_or_give_up(DIALLER, link)
            if live := self.ends[DIALLER].mux.links:
                for link in used - set(live):
                    self.ends[DIALLER].mux.move(link, live[0])
                self.settle()
                self.nothing_arrives_that_was_not_written()
        for link in used:
            self.lose(link)
            for side in (DIALLER, ACCEPTOR):
                self.notice_or_give_up(side, link)
        back = sorted(used) if self.rng.random() < 0.5 else [max(used)]
        for link in back:
            self.hello(link)
            self.welcome(link)
        for link in used - set(back):
            self.ends[DIALLER].mux.move(link, back[0])
        for _ in range(2):
            for end in self.ends:
                end.reading = True
                end.consume_held()
                for stream in list(end.mux.streams.values()):
                    end.mux.finish(stream)
            self.settle()
        self.check()

    def check(self) -> None:
        for (side, stream_id), data in self.written.items():
            if stream_id not in self.excused:
                assert self.ends[1 - side].received.get(stream_id) == data
        for side, end in enumerate(self.ends):
            ended = {e.stream.stream_id for e in end.events if isinstance(e, StreamEnded)}
            assert ended <= self.excused, "only what somebody gave up breaks off"
            assert not end.mux.streams
            assert end.mux.pending == 0
            session, peer = end.mux.session, self.ends[1 - side].mux.session
            assert session.consumed == session.received
            assert session.sent == peer.received


TestAnyOrder = Session.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
