"""What each frame of the peer does to a session. One function a frame; the rules are here.

Fields have been checked for type and range before (see `frames`); here is what they may say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lapdev.wire.mux.events import (
    CallReceived,
    DatagramReceived,
    DataReceived,
    EofReceived,
    Event,
    GoAwayReceived,
    ReplyReceived,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
)
from lapdev.wire.mux.frames import FrameType, Message, decode, encode, violation
from lapdev.wire.mux.moves import resume_received
from lapdev.wire.mux.stream import MuxStream

if TYPE_CHECKING:
    from lapdev.wire.mux.connection import MuxConnection
    from lapdev.wire.mux.link import Link

MAX_PENDING_PONGS = 32
"""More pings than this before we could answer are a flood (in HTTP/2: CVE-2019-9512)."""
MAX_GHOSTS = 4_096
"""Reset streams whose end the peer has not confirmed, over and above the open ones."""


def receive(connection: MuxConnection, link: Link, message: Message) -> list[Event]:
    """What the message says, in order. Raises RemoteProtocolError."""
    events: list[Event] = []
    streams, session, number = connection.streams, connection.session, link.number
    for frame in decode(message):
        kind = frame[0]
        if not link.settled and kind in _STREAM_FRAMES:
            raise violation(f"{FrameType(kind).name} before RESUME")
        if kind == _DATA:
            # Most frames by far are data in its place, on a stream that is read: a short way.
            stream, data = streams.get(frame[1]), frame[3]
            if (
                stream is not None
                and stream.link == number
                and frame[2] == stream.received
                and not stream.reset_cause
                and not stream.discarding
                and stream.final < 0
            ):
                size = len(data)
                session.received += size
                if (
                    session.received <= session.receive_limit
                    and frame[2] + size <= stream.receive_limit
                ):
                    link.received += size
                    stream.received += size
                    events.append(DataReceived(stream, data))
                    continue
                session.received -= size
        _HANDLERS[kind](connection, link, frame, events)
    return events


def _on_handshake(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    raise violation(f"{FrameType(frame[0]).name} after the handshake")


def _on_open(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    _, stream_id, target, send_limit = frame[:4]
    # An id used twice could hand one stream's bytes to another.
    if connection.is_ours(stream_id) or not connection.peer_ids.take(stream_id):
        raise violation(f"OPEN of stream {stream_id}")
    options, streams = connection.options, connection.streams
    if len(streams) >= options.max_streams + MAX_GHOSTS:
        raise violation("streams are opened and their end is not confirmed")
    window = options.stream_window
    stream = MuxStream(stream_id, local=False, window=window, send_limit=send_limit)
    stream.link = link.number
    streams[stream_id] = stream
    connection.pending += 1
    if len(streams) > options.max_streams:
        connection.reset(stream, "too_many_streams", f"{options.max_streams} streams are open")
    elif connection.pending > options.max_pending:
        connection.reset(stream, "too_many_pending", f"{options.max_pending} streams wait already")
    else:
        events.append(StreamOpened(stream, target))


def _on_accept(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    stream = _known(connection, link, frame[1])
    if stream is None:
        return
    if not stream.local or stream.accepted:
        raise violation(f"ACCEPT of stream {frame[1]}")
    stream.accepted = True
    stream.open_frame = b""
    connection.answered(stream)
    if not stream.reset_cause:
        stream.send_limit = max(stream.send_limit, frame[2])
        link.sender.schedule(stream)
        events.append(StreamAccepted(stream))


def _on_data(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    stream_id, offset, data = frame[1], frame[2], frame[3]
    size = len(data)
    link.received += size
    connection.session.receive(size)
    stream = _known(connection, link, stream_id)
    if stream is None:
        # Nobody's bytes, never another stream's. They count for the session all the same.
        connection.session.consumed += size
        _refuse_unknown(link, stream_id)
        return
    stream.receive(offset, size)
    if stream.reset_cause or stream.discarding:
        connection.drop_received(stream)
        if stream.discarding:
            _discarded(connection, link, stream, size)
    else:
        events.append(DataReceived(stream, data))


def _discarded(connection: MuxConnection, link: Link, stream: MuxStream, size: int) -> None:
    stream.patience -= size
    if stream.fin_acked or stream.patience < 0:
        connection.reset(stream, "closed", "the reader has gone")
    elif stream.credit_due:
        link.sender.mark_credit(stream)


def _on_datagram(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    stream = _known(connection, link, frame[1])
    # One that crossed with the stream's end is lost, as any may be.
    if stream is not None and not stream.reset_cause and not stream.discarding:
        events.append(DatagramReceived(stream, frame[2]))


def _on_fin(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    stream = _known(connection, link, frame[1])
    if stream is None:
        _refuse_unknown(link, frame[1])
        return
    stream.receive_fin(frame[2])
    if stream.reset_cause:
        return
    if stream.consumed == stream.final:
        link.sender.mark_credit(stream)
    if not stream.discarding:
        events.append(EofReceived(stream))


def _on_reset(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    _, stream_id, final, cause, detail = frame[:5]
    stream = _known(connection, link, stream_id)
    if stream is None:
        return
    if not stream.received <= final <= stream.receive_limit:
        raise violation(f"RESET of stream {stream_id} at {final}")
    # What was sent and will never come is paid back at once.
    link.received += final - stream.received
    connection.session.receive(final - stream.received)
    stream.received = final
    if stream.reset_cause:
        connection.drop_received(stream)
    else:
        refused = stream.local and not stream.accepted
        connection.abort(stream, "reset")  # the answer; frees what the stream held
        events.append(StreamEnded(stream, cause, detail, refused))
    del connection.streams[stream_id]


def _on_credit(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    _, stream_id, consumed, limit = frame[:4]
    if stream_id == 0:
        connection.session.credit(consumed, limit)
        return
    stream = _known(connection, link, stream_id)
    if stream is None:
        return  # it crossed with the stream's end
    stream.acknowledge(consumed)
    if stream.reset_cause:
        # Our RESET crossed with the peer's last word.
        if stream.forgotten_by_peer:
            del connection.streams[stream_id]
        return
    stream.send_limit = max(stream.send_limit, limit)
    if stream.finished and stream.credited == stream.consumed_position:
        del connection.streams[stream_id]
    elif stream.fin_acked and stream.discarding and stream.received == stream.receive_limit:
        # The peer has read all of ours and is stuck with what nobody here will read.
        connection.reset(stream, "closed", "the reader has gone")
    else:
        link.sender.schedule(stream)


def _on_ping(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    link.pongs_due += 1
    if link.pongs_due > MAX_PENDING_PONGS:
        raise violation("ping flood")
    link.sender.control(encode(FrameType.PONG, frame[1]))


def _on_pong(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    # Any byte is a sign of life: `heard` has taken note of it.
    link.round_trip.answered(frame[1], connection.now, link.received)


def _on_call(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    if connection.calls.call_received(frame[1], link.number):
        events.append(CallReceived(frame[1], frame[2], frame[3]))


def _on_reply(connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]) -> None:
    if connection.calls.reply_received(frame[1]):
        events.append(ReplyReceived(frame[1], frame[2], frame[3]))


def _on_goaway(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    events.append(GoAwayReceived(frame[1], frame[2], frame[3], link.number))


def _on_resume(
    connection: MuxConnection, link: Link, frame: list[Any], events: list[Event]
) -> None:
    events.extend(resume_received(connection, link, frame))


def _known(connection: MuxConnection, link: Link, stream_id: int) -> MuxStream | None:
    stream = connection.streams.get(stream_id)
    if stream is None and connection.is_ours(stream_id) and stream_id >= connection.next_stream_id:
        raise violation(f"stream {stream_id} is ours to open, and is not open")
    if stream is not None and stream.link != link.number:
        raise violation(f"stream {stream_id} is link {stream.link}'s, not link {link.number}'s")
    return stream


def _refuse_unknown(link: Link, stream_id: int) -> None:
    link.sender.control_once(encode(FrameType.RESET, stream_id, 0, "unknown_stream", ""))


Handler = Callable[["MuxConnection", "Link", list[Any], list[Event]], None]

_HANDLERS: dict[int, Handler] = {
    FrameType.HELLO: _on_handshake,
    FrameType.WELCOME: _on_handshake,
    FrameType.OPEN: _on_open,
    FrameType.ACCEPT: _on_accept,
    FrameType.DATA: _on_data,
    FrameType.FIN: _on_fin,
    FrameType.RESET: _on_reset,
    FrameType.CREDIT: _on_credit,
    FrameType.PING: _on_ping,
    FrameType.PONG: _on_pong,
    FrameType.CALL: _on_call,
    FrameType.REPLY: _on_reply,
    FrameType.GOAWAY: _on_goaway,
    FrameType.RESUME: _on_resume,
    FrameType.DATAGRAM: _on_datagram,
}
_DATA = int(FrameType.DATA)
_STREAM_FRAMES = frozenset(
    {
        FrameType.OPEN,
        FrameType.ACCEPT,
        FrameType.DATA,
        FrameType.FIN,
        FrameType.RESET,
        FrameType.CREDIT,
        FrameType.DATAGRAM,
    }
)
