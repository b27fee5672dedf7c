"""Joins a stream to a local connection: outlet (stream → dialled) and inlet (accepted → stream).

Which target may be dialled has been decided before; nothing here turns a peer's word into an
address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from lapdev.errors import ConnectFailed, ConnectTimeout, LapdevError
from lapdev.net.relay import Relay, Waiting, relay, relay_waiting, reset
from lapdev.tunnel.stream import Stream
from lapdev.tunnel.tunnel import Tunnel
from lapdev.wire.control import Target

Dial = Callable[
    [Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, asyncio.Protocol]]
]
OnDone = Callable[[Relay], None]

CONNECT_TIMEOUT = 5.0


async def outlet(stream: Stream, dial: Dial, on_done: OnDone | None = None) -> None:
    """The stream is accepted and relayed to what `dial` connects to, or refused with the reason.

    Returns when the two are joined; `on_done` runs when they part. Cancelling refuses the stream.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            transport, _ = await dial(Waiting)
    except TimeoutError:
        stream.refuse(ConnectTimeout(f"no connection within {CONNECT_TIMEOUT:g} s"))
        return
    except LapdevError as exc:
        stream.refuse(exc)
        return
    except OSError as exc:
        stream.refuse(ConnectFailed(exc.strerror or str(exc)))
        return
    except asyncio.CancelledError:
        stream.abort()
        raise
    if stream.is_closing():
        transport.abort()
        return
    waiting = cast(Waiting, transport.get_protocol())
    near = Waiting()
    stream.accept(near)
    relay_waiting(near, waiting, on_done)


class Inlet(asyncio.Protocol):
    """Protocol for an accepted local connection: it becomes a stream to `target`."""

    def __init__(self, tunnel: Tunnel, target: Target, on_done: OnDone | None = None) -> None:
        self._tunnel = tunnel
        self._target = target
        self._on_done = on_done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        local = cast(asyncio.Transport, transport)
        try:
            stream = self._tunnel.open_stream(self._target, asyncio.Protocol())
        except LapdevError:
            reset(local)  # there is no way to say why on a bare connection
            return
        relay(local, stream, self._on_done)
