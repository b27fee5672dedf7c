"""How candidates are reached, and the upstream connections of one downstream connection.

An upstream connection belongs to the downstream connection it was opened for: at most one per
target, closed with it, never shared. Streams to laptops are opened anew for each request, because
acceptance is what proves that a laptop is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lapdev.errors import ConnectTimeout
from lapdev.net.address import TcpAddress
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.listener import dial
from lapdev.routing.table import AppCandidate, BranchCandidate, Candidate, LaptopCandidate
from lapdev.sidecar.laptops import Laptops
from lapdev.wire.http1 import INNER_LIMITS

CONNECT_TIMEOUT = 1.0
CONNECT_ATTEMPTS = 3


class Outbound:
    """The ways from one service port to whoever may answer."""

    __slots__ = ("_app", "_laptops")

    def __init__(self, app: TcpAddress, laptops: Laptops) -> None:
        self._app = app
        self._laptops = laptops

    async def connect(self, candidate: Candidate, protocol: asyncio.Protocol) -> asyncio.Transport:
        """A connection to the candidate, served by `protocol`.

        Raises:
            ConnectFailed, ConnectTimeout, LaptopUnreachableError.
        """
        match candidate:
            case LaptopCandidate():
                return await self._laptops.open(candidate, protocol)
            case BranchCandidate():
                return await _dial(candidate.address, protocol)
            case AppCandidate():
                return await _dial(self._app, protocol)

    def suspect(self, candidate: LaptopCandidate) -> None:
        """See `Laptops.suspect`."""
        self._laptops.suspect(candidate)


async def _dial(address: str | TcpAddress, protocol: asyncio.Protocol) -> asyncio.Transport:
    """A refusal is an answer and counts at once; only silence is asked again."""
    for _ in range(CONNECT_ATTEMPTS):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                transport, _ = await dial(address, lambda: protocol)
                return transport
        except TimeoutError:
            continue
    raise ConnectTimeout(f"{address} did not accept a connection in time")


Dialled = tuple[Candidate, UpstreamConnection]


class Upstreams:
    """The upstream HTTP connections of one downstream connection."""

    __slots__ = ("_coming", "_open", "_outbound", "_towards")

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._open: dict[str, UpstreamConnection] = {}
        self._coming: asyncio.Task[Dialled | None] | None = None
        self._towards: Callable[[], Candidate | None] = lambda: None

    def expect(
        self,
        coming: asyncio.Task[Dialled | None],
        towards: Callable[[], Candidate | None],
    ) -> None:
        """Somebody is being dialled already: the first request for them takes that connection.

        `towards` says who it is at the moment; it can change as candidates prove to be down.
        """
        self._coming, self._towards = coming, towards

    def idle(self, candidate: Candidate) -> UpstreamConnection | None:
        """The open connection to the candidate, when it can carry a request now."""
        upstream = self._open.get(_key(candidate))
        return upstream if upstream is not None and upstream.reusable else None

    async def connect(self, candidate: Candidate) -> UpstreamConnection:
        """A connection to the candidate that can carry a request. Raises as `Outbound.connect`."""
        upstream = await self._claim(candidate)
        if upstream is None or not upstream.reusable:
            if upstream is not None:
                upstream.close()
            upstream = await self._connect(candidate)
        if not isinstance(candidate, LaptopCandidate):
            key = _key(candidate)
            if key in self._open:
                self._open[key].close()
            self._open[key] = upstream
        return upstream

    async def _claim(self, candidate: Candidate) -> UpstreamConnection | None:
        """The connection that was expected, if it leads to the candidate; waits only if it may."""
        if self._coming is None:
            return None
        if self._towards() != candidate and not isinstance(candidate, AppCandidate):
            return None
        found = await self._coming
        if found is not None and found[0] != candidate:
            return None  # it stays for whom it leads to
        self._coming = None
        return found[1] if found is not None else None

    async def _connect(self, candidate: Candidate) -> UpstreamConnection:
        upstream = UpstreamConnection(INNER_LIMITS)
        await self._outbound.connect(candidate, upstream)
        return upstream

    def release(self, upstream: UpstreamConnection) -> None:
        """The connection left HTTP and belongs to somebody else."""
        self._open = {key: kept for key, kept in self._open.items() if kept is not upstream}

    def close(self) -> None:
        """No connection is left. Idempotent."""
        opened, self._open = self._open, {}
        for upstream in opened.values():
            upstream.close()
        coming, self._coming = self._coming, None
        if coming is None or coming.cancel() or coming.cancelled():
            return
        unclaimed = coming.result()
        if unclaimed is not None:
            unclaimed[1].close()


def _key(candidate: Candidate) -> str:
    match candidate:
        case BranchCandidate():
            return candidate.address
        case LaptopCandidate():
            return candidate.intercept
        case AppCandidate():
            return ""
