"""The tunnel's multiplexing: messages in, events out, messages to send. No sockets, no clock.

Law: every byte a peer sends gives events or `RemoteProtocolError`; no byte is lost, doubled or
reordered within a session, however often its connection is.
"""

from lapdev.wire.mux.connection import MuxConnection, MuxOptions
from lapdev.wire.mux.frames import SUBPROTOCOL, CloseCode, GoAwayScope, Payload
from lapdev.wire.mux.handshake import (
    Hello,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_hello,
    encode_welcome,
)
from lapdev.wire.mux.liveness import LivenessOptions
from lapdev.wire.mux.stream import MuxStream
from lapdev.wire.mux.window_budget import WindowBudget

__all__ = [
    "SUBPROTOCOL",
    "CloseCode",
    "GoAwayScope",
    "Hello",
    "LivenessOptions",
    "MuxConnection",
    "MuxOptions",
    "MuxStream",
    "Payload",
    "Welcome",
    "WindowBudget",
    "decode_hello",
    "decode_welcome",
    "encode_hello",
    "encode_welcome",
]
