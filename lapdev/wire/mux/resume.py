"""Going on after a lost connection.

Each end lists every stream of the links in question that it still holds: what it received of it in
order, how far the peer may send, and which one-off frames it has seen. From the two lists both
ends know the same:

- listed by both: sending goes on from the peer's `received`, and what it missed is repeated;
- ours, and the peer never saw its id: its OPEN never arrived; it is opened again, from the start;
- held by us only: the peer is through with it. An end forgets a stream only when it knows that
  the other has all of it, so ours is complete as well, or was aborted and says so.

Who sends its list when, and over which link, is in `moves`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lapdev.wire.mux.events import Event, StreamAccepted, StreamEnded
from lapdev.wire.mux.frames import RESUME_ENTRIES, FrameType, encode, violation
from lapdev.wire.mux.seen import Range, is_unseen
from lapdev.wire.mux.stream import MuxStream

if TYPE_CHECKING:
    from lapdev.wire.mux.connection import MuxConnection

ACCEPTED = 1
"""RESUME flag: the stream is accepted. From its acceptor it stands for a lost ACCEPT."""

MAX_LISTED = 65_536
"""More than any two ends can hold between them."""

_Entry = tuple[int, int, int]  # received, limit, flags


class PeerResume:
    """The peer's RESUME frames, gathered."""

    __slots__ = ("complete", "limit", "links", "missing", "opened", "received", "streams")

    def __init__(self) -> None:
        self.complete = False
        self.received = 0
        self.limit = 0
        self.opened = 0
        self.streams: dict[int, _Entry] = {}
        self.links: dict[int, int] = {}
        """The links in question, and how many bytes of data came over each."""
        self.missing: list[Range] = []

    def add(self, frame: list[Any]) -> None:
        _, self.received, self.limit, self.opened, entries, more = frame[:6]
        # An end that knows but one link says nothing of links.
        links, missing = ([*frame[6:8], [], []])[:2] if len(frame) > 6 else ([], [])
        self.links = {item[0]: item[1] for item in links} or {0: self.received}
        self.missing = [(first, last) for first, last in missing]
        for stream_id, received, limit, flags in (entry[:4] for entry in entries):
            if stream_id in self.streams:
                raise violation(f"RESUME lists stream {stream_id} twice")
            self.streams[stream_id] = (received, limit, flags)
        if len(self.streams) > MAX_LISTED:
            raise violation(f"RESUME lists more than {MAX_LISTED} streams")
        self.complete = not more


def resume_frames(connection: MuxConnection, links: frozenset[int]) -> list[bytes]:
    """Where every stream of these links stands, for the peer."""
    session, seen = connection.session, connection.peer_ids
    session.grant()
    entries = []
    for stream in connection.streams.values():
        if stream.link not in links or stream.unopened:
            continue
        stream.grant()
        stream.accept_told = stream.accepted
        entries.append(
            [
                stream.stream_id,
                stream.received_position,
                stream.receive_limit,
                ACCEPTED if stream.accepted else 0,
            ]
        )
    counts = [[number, connection.table[number].received] for number in sorted(links)]
    head = (session.received, session.receive_limit, seen.highest)
    frames = []
    while True:
        part, entries = entries[:RESUME_ENTRIES], entries[RESUME_ENTRIES:]
        frames.append(encode(FrameType.RESUME, *head, part, bool(entries), counts, seen.missing))
        if not entries:
            return frames


def apply_resume(connection: MuxConnection, peer: PeerResume, carrier: int) -> list[Event]:
    """Every stream in question goes on over the link `carrier`, or has ended.

    Raises:
        RemoteProtocolError: the peer claims what cannot be.
    """
    if peer.opened >= connection.next_stream_id:
        raise violation(f"RESUME: stream {peer.opened} was never opened")
    _settle_credit(connection, peer)
    for stream_id in peer.streams:
        stream = connection.streams.get(stream_id)
        if stream is not None and stream.link not in peer.links:
            raise violation(f"RESUME lists stream {stream_id}, which is link {stream.link}'s")
    events: list[Event] = []
    for stream in [s for s in connection.streams.values() if s.link in peer.links]:
        stream.link = carrier
        entry = peer.streams.get(stream.stream_id)
        if entry is not None:
            _go_on(connection, stream, entry, events)
        elif stream.local and is_unseen(stream.stream_id, peer.opened, peer.missing):
            _open_again(connection, stream)
        else:
            _conclude(connection, stream, events)
    return events


def _settle_credit(connection: MuxConnection, peer: PeerResume) -> None:
    session = connection.session
    if peer.received > session.sent:
        raise violation(f"session: {peer.received} received of {session.sent} sent")
    session.send_limit = max(session.send_limit, peer.limit)
    for number, received in peer.links.items():
        sender = connection.table[number].sender
        sender.drop_streams()
        if received > sender.sent:
            raise violation(f"link {number}: {received} received of {sender.sent} sent")
        session.take_back(sender.sent - received)
        sender.sent = received


def _go_on(
    connection: MuxConnection, stream: MuxStream, entry: _Entry, events: list[Event]
) -> None:
    received, limit, flags = entry
    if stream.reset_cause:
        stream.acknowledge(received)
        if stream.forgotten_by_peer:
            connection.forget(stream)
        else:
            # Bytes beyond `received` are lost for good: the final offset is what the peer has.
            stream.sent = min(stream.sent, received)
            connection.send_reset(stream)
        return
    stream.rewind(received)
    stream.send_limit = max(stream.send_limit, limit)
    if stream.local and flags & ACCEPTED and not stream.accepted:
        stream.accepted = True
        stream.open_frame = b""
        connection.answered(stream)
        events.append(StreamAccepted(stream))
    if not stream.local and stream.accepted and not stream.accept_told:
        connection.send_accept(stream)  # accepted after our own list was made
    if stream.finished:
        connection.forget(stream)
        return
    sender = connection.sender_of(stream)
    sender.schedule(stream)
    if stream.consumed_position > stream.credited:
        sender.mark_credit(stream)  # consumed after our own list was made


def _open_again(connection: MuxConnection, stream: MuxStream) -> None:
    if stream.reset_cause:
        connection.forget(stream)
        return
    if stream.accepted or stream.received:
        raise violation(f"RESUME: stream {stream.stream_id} was opened, and is unknown")
    if stream.unopened:
        return
    stream.rewind(0)
    connection.send_open(stream)
    connection.sender_of(stream).schedule(stream)


def _conclude(connection: MuxConnection, stream: MuxStream, events: list[Event]) -> None:
    complete = stream.fin_sent and stream.final >= 0
    connection.forget(stream)
    if not complete and not stream.reset_cause:
        events.append(
            StreamEnded(stream, "stream_lost", "the other end no longer knows the stream", False)
        )
