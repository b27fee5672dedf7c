"""A connection of ours that became another protocol's: joined to the app's, and ended with a word.

What a websocket carries is not looked at; only its frames are counted, so that a server that stops
can say 1001 between two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lapdev.net.http_server import HttpServer
from lapdev.net.relay import Relay, relay
from lapdev.wire.frame_boundary import GOING_AWAY, FrameBoundary


class SwitchedConnection:
    """Client below, app above, joined until one of them ends."""

    def __init__(
        self,
        server: HttpServer,
        below: asyncio.Transport,
        above: asyncio.Transport,
        on_done: Callable[[Relay], None],
        *,
        websocket: bool,
    ) -> None:
        self._server = server
        self._on_done = on_done
        self._below = below
        self._counted = _Counted(below) if websocket else None
        server.switched.add(self)
        self.relay = relay(self._counted or below, above, self._done)

    def leave(self) -> None:
        """The client of a websocket is told 1001, other protocols are cut."""
        if self._counted is not None:
            self._counted.leave()
        else:
            self.relay.abort()

    def abort(self) -> None:
        """The client's connection ends; what was written for it still goes out."""
        self._below.close()

    def _done(self, ended: Relay) -> None:
        self._server.forget_switched(self)
        self._on_done(ended)


class _Counted(asyncio.Transport):
    """The client's transport; knows between which bytes another frame may be put."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._frames = FrameBoundary()
        self._leaving = False
        self._said = False
        self._ended = False

    def leave(self) -> None:
        """The client hears 1001 as soon as the frame that is being sent is over."""
        self._leaving = True
        self._say()

    def _say(self) -> None:
        if self._frames.between and not self._said:
            self._said = True
            over = self._ended or self._frames.closed or self._transport.is_closing()
            if not over:
                self._transport.write(GOING_AWAY)

    # asyncio.Transport

    def write(self, data: Any) -> None:
        if self._leaving:
            data = data[: self._frames.rest(data)] if not self._said else b""
        if data:
            self._frames.receive_data(data)
            self._transport.write(data)
        if self._leaving:
            self._say()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        self._ended = True
        self._transport.write_eof()
