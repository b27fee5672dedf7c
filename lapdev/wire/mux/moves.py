"""Which link's streams are listed where and when: the exchange of RESUME.

The dialler asks, the acceptor answers. A request travels over a link that is alive, the *carrier*,
names the links whose connections are over, lists their streams, and makes them the carrier's. It
is the first thing a connection that came back says (the carrier is then among the links), and it
is how the streams of a lost link go on over another one. The acceptor acts on a request at once
and in one piece; until its answer comes, the dialler holds those streams back.

Two rules keep both ends agreed whatever is lost: a link is in at most one unanswered request, and
when the carrier of one is lost, its own streams and those of the links it was asked about are
asked about together from then on (*tied*), because either link may have them at the acceptor.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from lapdev.wire.mux.events import Event, LinkSuperseded, Resumed
from lapdev.wire.mux.frames import violation
from lapdev.wire.mux.resume import PeerResume, apply_resume, resume_frames

if TYPE_CHECKING:
    from lapdev.wire.mux.connection import MuxConnection
    from lapdev.wire.mux.link import Link

Links = frozenset[int]


class Moves:
    """What the dialler has asked, and has still to ask. Empty at the acceptor."""

    __slots__ = ("_asked", "_tied", "_wishes")

    def __init__(self) -> None:
        self._asked: dict[int, deque[Links]] = {}
        """By carrier: the links of each request that is not answered yet."""
        self._tied: list[Links] = []
        self._wishes: dict[int, int] = {}

    def carrier_lost(self, carrier: int) -> None:
        for links in self._asked.pop(carrier, ()):
            self._tie(links | {carrier})

    def wish(self, link: int, to: int) -> None:
        self._wishes[link] = to

    def group(self, link: int) -> Links:
        """The links that have to be asked about together with this one."""
        return next((tied for tied in self._tied if link in tied), frozenset({link}))

    def is_asked(self, link: int) -> bool:
        return any(link in links for asked in self._asked.values() for links in asked)

    def proceed(self, connection: MuxConnection) -> None:
        """Ask what may be asked by now."""
        for link in connection.table.values():
            if link.unasked and not self.is_asked(link.number):
                link.unasked = False
                self._ask(connection, link)
        for number, to in list(self._wishes.items()):
            carrier = connection.link(to)
            if connection.table[number].live or not carrier.live or self.is_asked(number):
                del self._wishes[number]
            elif carrier.settled:
                del self._wishes[number]
                self._ask(connection, carrier, number)

    def answered(self, carrier: int, links: Links) -> None:
        """Raises RemoteProtocolError if that was not asked."""
        asked = self._asked.get(carrier)
        if not asked or asked.popleft() != links:
            raise violation(f"RESUME of links {sorted(links)} that was not asked for")
        self._tied = [tied for tied in self._tied if not tied & links]

    def _ask(self, connection: MuxConnection, carrier: Link, number: int = -1) -> None:
        links = self.group(carrier.number if number < 0 else number)
        for frame in resume_frames(connection, links):
            carrier.sender.control(frame)
        self._asked.setdefault(carrier.number, deque()).append(links)

    def _tie(self, links: Links) -> None:
        apart = []
        for tied in self._tied:
            if tied & links:
                links |= tied
            else:
                apart.append(tied)
        self._tied = [*apart, links]


def resume_received(connection: MuxConnection, link: Link, frame: list[Any]) -> list[Event]:
    """One RESUME frame of the peer's came over `link`. Raises RemoteProtocolError."""
    peer = link.gathering = link.gathering or PeerResume()
    peer.add(frame)
    if not peer.complete:
        return []
    link.gathering = None
    for number in peer.links:
        connection.link(number)
    links = frozenset(peer.links)
    events: list[Event] = []
    if connection.dialler:
        connection.moves.answered(link.number, links)
        link.settled = link.settled or link.number in links
        events += apply_resume(connection, peer, link.number)
        connection.moves.proceed(connection)
    else:
        events += _answer(connection, link, peer, links)
    events.append(Resumed(link.number, tuple(sorted(links))))
    connection.links_changed()
    return events


def _answer(connection: MuxConnection, link: Link, peer: PeerResume, links: Links) -> list[Event]:
    if link.settled == (link.number in links):
        raise violation(f"RESUME of links {sorted(links)} on link {link.number}")
    events: list[Event] = []
    for number in links - {link.number}:
        # A connection on which nothing was asked yet is a newer one than the one that is over.
        if connection.table[number].settled:
            connection.detach(number)
            events.append(LinkSuperseded(number))
    link.settled = True
    for answer in resume_frames(connection, links):
        link.sender.control(answer)
    return events + apply_resume(connection, peer, link.number)
