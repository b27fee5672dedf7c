"""The first bytes of a connection whose protocol is not declared, and the raw path.

The app is dialled as soon as a connection is accepted, because a server may be the one to speak
first. Whatever comes settles it, with no clock: a byte that cannot begin HTTP/1, any byte from the
app, or the end of either direction makes it raw; a request line makes it HTTP, and what was read
and dialled so far is handed on.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from lapdev.errors import LapdevError
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.relay import Relay, relay, reset
from lapdev.net.tasks import Tasks
from lapdev.routing.table import Candidate, Decision
from lapdev.sidecar.outbound import Dialled, Outbound
from lapdev.sidecar.sniff import Sniffer, Verdict
from lapdev.wire.http1 import INNER_LIMITS

EARLY_BYTES = 65_536
"""Held while the far end is being dialled; above, the client is made to wait."""


class RawOwner(Protocol):
    """The port that accepted the connection."""

    tasks: Tasks
    outbound: Outbound

    def headerless(self) -> Decision:
        """Where a request without any header would go now."""

    def became_http(self, first: FirstBytes) -> None:
        """The connection speaks HTTP; its transport and bytes belong to the port now."""

    def became_raw(self, first: FirstBytes, joined: Relay) -> None: ...
    def connection_over(self, first: FirstBytes) -> None: ...
    def relay_over(self, joined: Relay) -> None: ...


class FirstBytes(asyncio.Protocol):
    """A client connection until it is settled."""

    def __init__(self, owner: RawOwner, *, raw: bool) -> None:
        """`raw`: the protocol is declared, nothing is looked at."""
        self.transport: asyncio.Transport
        self.received = bytearray()
        self.ended = False
        """The client sends nothing more."""
        self._owner = owner
        self._sniffer = Sniffer()
        self._raw = raw
        self._settled = False
        self._far: _Far | None = None
        self._dialing: asyncio.Task[None]
        self.towards: Candidate | None = None
        """Whom is dialled, or was dialled last."""
        self._tried = 0

    # asyncio.Protocol, client side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop has its own classes
        self._dial()

    def data_received(self, data: bytes) -> None:
        if self._settled:
            return
        self.received += data
        if self._raw:
            if len(self.received) > EARLY_BYTES:
                self.transport.pause_reading()
            return
        verdict = self._sniffer.feed(data)
        if verdict is Verdict.HTTP:
            self._settle_http()
        elif verdict is Verdict.RAW:
            self._settle_raw()

    def eof_received(self) -> bool:
        if self._settled:
            return False
        self.ended = True
        self._settle_raw()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._settled:
            return
        self._settled = True
        self._dialing.cancel()
        if self._far is not None:
            self._far.transport.abort()
        self._owner.connection_over(self)

    # The far side

    def _dial(self) -> None:
        self._tried += 1
        self._dialing = self._owner.tasks.spawn(self._connect(), "raw connection dials")

    async def _connect(self) -> None:
        try:
            await self._try_candidates()
            self._dialed()
        except Exception:
            reset(self.transport)  # the client must not wait; the task's owner logs it
            raise

    async def _try_candidates(self) -> None:
        """The first candidate that is up is at the far side, or none is."""
        for candidate in self._owner.headerless().candidates:
            far = _Far(self)
            self.towards = candidate
            try:
                await self._owner.outbound.connect(candidate, far)
            except LapdevError:
                continue
            self._far = far
            return

    def _dialed(self) -> None:
        if self._far is not None and (self._far.received or self._far.ended):
            self._raw = True
        if self._raw and not self._settled:
            self._join()

    def far_spoke(self, far: _Far) -> None:
        """The app sent a byte, or closed: the client's next bytes are not for us to read."""
        if far is self._far and not self._settled:
            self._settle_raw()

    def far_lost(self, far: _Far) -> None:
        if far is self._far and not self._settled:
            reset(self.transport)

    # Settling

    def _settle_raw(self) -> None:
        self._raw = True
        if self._far is None and not self._dialing.done():
            return
        if self._far is None and self._tried == 1:
            # The app was down when the client connected; it is asked once more now.
            self._dial()
        else:
            self._join()

    def _join(self) -> None:
        self._settled = True
        far = self._far
        if far is None or far.transport.is_closing() or self.transport.is_closing():
            reset(self.transport)
            if far is not None:
                reset(far.transport)
            self._owner.connection_over(self)
            return
        joined = relay(self.transport, far.transport, self._owner.relay_over)
        self._owner.became_raw(self, joined)
        for data, pass_on in ((self.received, joined.from_a), (far.received, joined.from_b)):
            if data:
                pass_on(bytes(data))
        for ended, pass_end in ((self.ended, joined.eof_from_a), (far.ended, joined.eof_from_b)):
            if ended:
                pass_end()

    def _settle_http(self) -> None:
        self._settled = True
        self._owner.became_http(self)

    async def dialled(self) -> Dialled | None:
        """Who was dialled for this client, and the connection, if it is still whole."""
        try:
            await asyncio.wait([self._dialing])
            return self._hand_on()
        finally:
            self._dialing.cancel()
            if self._far is not None:
                self._far.transport.abort()

    def _hand_on(self) -> Dialled | None:
        far, towards = self._far, self.towards
        if far is None or far.received or far.ended or far.transport.is_closing():
            return None
        assert towards is not None
        self._far = None
        upstream = UpstreamConnection(INNER_LIMITS)
        far.transport.set_protocol(upstream)
        upstream.connection_made(far.transport)
        return towards, upstream


class _Far(asyncio.Protocol):
    """The connection dialled for a client, until it is joined or handed on."""

    def __init__(self, near: FirstBytes) -> None:
        self.transport: asyncio.Transport
        self.received = bytearray()
        self.ended = False
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._near.far_spoke(self)

    def eof_received(self) -> bool:
        self.ended = True
        self._near.far_spoke(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._near.far_lost(self)
