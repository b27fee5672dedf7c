"""Going on after a lost connection.

Each end lists every stream it still holds: what it received of it in order, how far the peer may
send, and which one-off frames it has seen. From the two lists both ends know the same:

- listed by both: sending goes on from the peer's `received`, and what it missed is repeated;
- ours, above the peer's `opened`: its OPEN never arrived; it is opened again, from the start;
- held by us only: the peer is through with it. An end forgets a stream only when it knows that
  the other has all of it, so ours is complete as well, or was aborted and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lapdev.wire.mux.events import Event, StreamAccepted, StreamEnded
from lapdev.wire.mux.frames import RESUME_ENTRIES, FrameType, encode, violation
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

    __slots__ = ("complete", "limit", "opened", "received", "streams")

    def __init__(self) -> None:
        self.complete = False
        self.received = 0
        self.limit = 0
        self.opened = 0
        self.streams: dict[int, _Entry] = {}

    def add(self, frame: list[Any]) -> None:
        _, self.received, self.limit, self.opened, entries, more = frame[:6]
        for stream_id, received, limit, flags in (entry[:4] for entry in entries):
            if stream_id in self.streams:
                raise violation(f"RESUME lists stream {stream_id} twice")
            self.streams[stream_id] = (received, limit, flags)
        if len(self.streams) > MAX_LISTED:
            raise violation(f"RESUME lists more than {MAX_LISTED} streams")
        self.complete = not more


def resume_frames(connection: MuxConnection) -> list[bytes]:
    """Where every stream stands, for the peer."""
    session = connection.session
    session.grant()
    entries = []
    for stream in connection.streams.values():
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
    frames = []
    while True:
        part, entries = entries[:RESUME_ENTRIES], entries[RESUME_ENTRIES:]
        head = (session.received, session.receive_limit, connection.peer_opened)
        frames.append(encode(FrameType.RESUME, *head, part, bool(entries)))
        if not entries:
            return frames


def apply_resume(connection: MuxConnection, peer: PeerResume) -> list[Event]:
    """Every stream is where the peer can go on, or has ended.

    Raises:
        RemoteProtocolError: the peer claims what cannot be.
    """
    if peer.opened >= connection.next_stream_id:
        raise violation(f"RESUME: stream {peer.opened} was never opened")
    connection.session.resume(peer.received, peer.limit)
    events: list[Event] = []
    for stream in list(connection.streams.values()):
        entry = peer.streams.get(stream.stream_id)
        if entry is not None:
            _go_on(connection, stream, entry, events)
        elif stream.local and stream.stream_id > peer.opened:
            _open_again(connection, stream)
        else:
            _conclude(connection, stream, events)
    return events


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
        events.append(StreamAccepted(stream))
    if not stream.local and stream.accepted and not stream.accept_told:
        connection.send_accept(stream)  # accepted after our own list was made
    if stream.finished:
        connection.forget(stream)
    else:
        connection.sender.schedule(stream)


def _open_again(connection: MuxConnection, stream: MuxStream) -> None:
    if stream.reset_cause:
        connection.forget(stream)
        return
    if stream.accepted or stream.received:
        raise violation(f"RESUME: stream {stream.stream_id} was opened, and is unknown")
    stream.rewind(0)
    connection.send_open(stream)
    connection.sender.schedule(stream)


def _conclude(connection: MuxConnection, stream: MuxStream, events: list[Event]) -> None:
    complete = stream.fin_sent and stream.final >= 0
    connection.forget(stream)
    if not complete and not stream.reset_cause:
        events.append(
            StreamEnded(stream, "stream_lost", "the other end no longer knows the stream", False)
        )
