"""Tunnels to the cloud for intercepts, dialled when the first request needs one.

A laptop may vanish at any moment, and what shows it is acceptance, not a ping: every request opens
its own stream, which must be accepted within a second. Else the request goes to the next candidate
and the route is suspect: skipped at once, and probed until the laptop answers again.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from lapdev.errors import LapdevError, StreamRefused, TunnelError, UpstreamError
from lapdev.log import get_logger
from lapdev.model import InterceptId, RouteSnapshot
from lapdev.net.tasks import Tasks
from lapdev.routing.table import LaptopCandidate

if TYPE_CHECKING:
    from lapdev.tunnel import Stream, Tunnel, Uplink
    from lapdev.wire.control import Message, Target

TUNNEL_PATH = "/_lapdev/tunnel/sidecar"


class LaptopUnreachableError(UpstreamError):
    """The laptop does not take requests now."""

    cause = "laptop_unreachable"

    def __init__(self, word: Literal["refused", "suspect", "timeout"], detail: str = "") -> None:
        """`word` is for the answer header: why the next candidate got the request."""
        super().__init__(detail)
        self.word = word


@dataclass(frozen=True, slots=True)
class LaptopOptions:
    """Seconds. See the table in the tunnel's design."""

    instance: str
    """Which process this is, random; names it to the cloud."""
    ca_file: str = ""
    """Authorities to believe beside the machine's own."""
    accept_timeout: float = 1.0
    probe_interval: float = 1.0


class Laptops:
    """Every intercept's way to its laptop. Leaving the `async with` block closes them all."""

    def __init__(self, options: LaptopOptions) -> None:
        self._options = options
        self._tasks = Tasks()
        self._links: dict[InterceptId, _Link] = {}
        self._granted: set[tuple[str, str, str]] = set()

    async def aclose(self) -> None:
        """No tunnel and no probe is left. Idempotent."""
        self._granted.clear()
        self._links.clear()
        await self._tasks.aclose()

    @property
    def uplinks(self) -> list[Uplink]:
        """One for each intercept that has had a request."""
        return [link.uplink for link in self._links.values()]

    def apply(self, snapshot: RouteSnapshot) -> None:
        """Tunnels of intercepts that are over, or have another token, are closed."""
        self._granted = {(row.intercept, row.token, row.cloud) for row in snapshot.intercepts}
        for link in list(self._links.values()):
            if link.key not in self._granted:
                del self._links[link.key[0]]
                link.close()

    async def open(self, candidate: LaptopCandidate, protocol: asyncio.Protocol) -> Stream:
        """A stream to the laptop, accepted by it.

        Raises:
            LaptopUnreachableError: the next candidate should be tried.
        """
        link = self._links.get(candidate.intercept)
        if link is None:
            if (candidate.intercept, candidate.token, candidate.cloud) not in self._granted:
                raise LaptopUnreachableError("refused", "the intercept is over")
            link = self._links[candidate.intercept] = _Link(candidate, self._tasks, self._options)
        return await link.open(candidate.port, protocol)

    def suspect(self, candidate: LaptopCandidate) -> None:
        """The laptop failed after accepting: ask again before it gets another request."""
        link = self._links.get(candidate.intercept)
        if link is not None:
            link.suspect(candidate.port)


class _Link:
    """One intercept's tunnel."""

    def __init__(self, candidate: LaptopCandidate, tasks: Tasks, options: LaptopOptions) -> None:
        # Imported when the first intercept is used: most sidecars never need it.
        from lapdev.net.way_out import WayOut
        from lapdev.tunnel import Uplink, UplinkOptions
        from lapdev.wire.control import InterceptTarget

        self._target = partial(InterceptTarget, candidate.intercept)
        self.key = (candidate.intercept, candidate.token, candidate.cloud)
        self._options = options
        self._tasks = tasks
        self._probes: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        self._was_up = False
        self.uplink: Uplink = Uplink(
            UplinkOptions(
                address=candidate.cloud,
                path=TUNNEL_PATH,
                token=candidate.token,
                role="sidecar",
                instance=options.instance,
                way=WayOut.from_environ(os.environ, options.ca_file),
            ),
            _Handler(),
        )
        self._run = tasks.spawn(self.uplink.run(), f"intercept {candidate.intercept}")

    def close(self) -> None:
        self._closed = True
        self._run.cancel()
        for probe in self._probes.values():
            probe.cancel()

    async def open(self, port: int, protocol: asyncio.Protocol) -> Stream:
        if port in self._probes:
            raise LaptopUnreachableError("suspect")
        try:
            return await self._open(port, protocol)
        except TimeoutError:
            self.suspect(port)
            raise LaptopUnreachableError("timeout") from None
        except LapdevError as exc:
            self.suspect(port)
            raise LaptopUnreachableError("refused", exc.detail) from exc

    async def _open(self, port: int, protocol: asyncio.Protocol) -> Stream:
        tunnel = self.uplink.tunnel
        if tunnel is None or not tunnel.connected:
            # The first request waits for the first connection. A link that was there and is gone
            # (the intercept is being removed, the cloud restarts) must not cost a request a second.
            if self._was_up:
                raise TunnelError("the link to the cloud is away")
            async with asyncio.timeout(self._options.accept_timeout):
                tunnel = await self.uplink.wait_up()
        self._was_up = True
        stream = tunnel.open_stream(self._target(port), protocol)
        try:
            async with asyncio.timeout(self._options.accept_timeout):
                await stream.wait_accepted()
        except BaseException:
            stream.abort()
            raise
        return stream

    def suspect(self, port: int) -> None:
        if port not in self._probes and not self._closed:
            get_logger().info("intercept_suspected", route=self.key[0])
            self._probes[port] = self._tasks.spawn(
                self._probe(port), f"probe of intercept {self.key[0]}"
            )

    async def _probe(self, port: int) -> None:
        """Ends when the laptop accepts a stream again."""
        try:
            while not await self._answers(port):
                pass
        finally:
            # Whatever ended it: a port that nobody asks again would be suspect for ever.
            del self._probes[port]
        get_logger().info("intercept_recovered", route=self.key[0])

    async def _answers(self, port: int) -> bool:
        await asyncio.sleep(self._options.probe_interval)
        try:
            stream = await self._open(port, asyncio.Protocol())
        except (TimeoutError, LapdevError):
            return False
        stream.abort()
        return True


class _Handler:
    """What the cloud may ask of a sidecar on an intercept's tunnel: nothing."""

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        raise StreamRefused(f"a sidecar takes no {type(message).__name__} from the cloud")

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.refuse(StreamRefused("nothing is opened towards a sidecar"))

    def tunnel_up(self, tunnel: Tunnel) -> None: ...
    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None: ...
    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None: ...
