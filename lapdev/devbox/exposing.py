"""The devbox's side of an exposure: it announces one address of this machine, and nothing else.

The cloud is told a name and a key, never the address. A stream that names another id is refused,
so whatever the cloud says, only the one address that was given on this machine is ever dialled.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lapdev.account import write_once
from lapdev.errors import (
    CallFailed,
    ConfigError,
    ConnectFailed,
    LapdevError,
    LoginRequired,
    NoRoute,
    RemoteProtocolError,
)
from lapdev.model import ExposureKind
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel, datagram_outlet, outlet
from lapdev.wire.control import (
    Done,
    EndExposure,
    ExposureState,
    ExposureTarget,
    Message,
    RequestSeen,
    RequestsSeen,
    StartExposure,
    Target,
)

LOOKING_INTERVAL = 1.0
"""How often a program that is not there is looked for."""
END_TIMEOUT = 2.0
LOOK_TIMEOUT = 5.0
ANNOUNCE_AGAIN = 5.0
"""After a cloud that had taken it did not: it may be on its way up, or down."""

_LOCAL = {"localhost": ("127.0.0.1", "::1")}
"""What a development server calls localhost may be only one of them."""


@dataclass(frozen=True, slots=True)
class Exposing:
    """What is asked for on the command line."""

    target: TcpAddress
    kind: ExposureKind
    name: str
    key: str
    port: int = 0
    """Raw: the wanted port of the cloud; 0: any."""
    watch: bool = False

    @property
    def port_only(self) -> bool:
        """Visitors have no page on which anything could be explained."""
        return self.kind is not ExposureKind.HTTP


class Reports:
    """What whoever runs an exposure may want to know. These do nothing."""

    def exposed(self, state: ExposureState) -> None:
        """It has its address. Again after each reconnect."""

    def disconnected(self, reason: str, hint: str = "") -> None:
        """The cloud cannot be reached now; it is tried again. `hint`: what may help, if known."""

    def target_lost(self, reason: str) -> None:
        """Nothing accepts connections at the address."""

    def target_found(self) -> None:
        """Something does, where nothing did."""

    def requests(self, seen: tuple[RequestSeen, ...], more: int) -> None:
        """What visitors asked for; `more` are not listed."""


class Exposer:
    """TunnelHandler of `lapdev expose`."""

    def __init__(self, exposing: Exposing, tasks: Tasks, reports: Reports) -> None:
        self.state: ExposureState | None = None
        self.failed: asyncio.Future[LapdevError] = asyncio.get_running_loop().create_future()
        """Why it cannot go on: the cloud will not have it."""
        self._exposing = exposing
        self._tasks = tasks
        self._reports = reports
        self._tunnel: Tunnel | None = None
        self._looking = False
        self._known = asyncio.Event()

    async def look(self) -> None:
        """The target is dialled once; when nothing is there, until something is."""
        if self._exposing.kind is ExposureKind.UDP:
            return  # nobody accepts datagrams, nobody refuses them
        if reason := await self._try_target():
            self._missed(reason)

    def dial_failed(self, error: LapdevError) -> None:
        """The cloud was not reached, for this reason."""
        hopeless = isinstance(error, ConfigError) and self.state is None
        if hopeless or isinstance(error, LoginRequired):
            self.fail(error)
        else:
            self._reports.disconnected(error.detail, error.hint)

    def fail(self, error: LapdevError) -> None:
        """It cannot go on."""
        if not self.failed.done():
            self.failed.set_result(error)

    async def end(self) -> None:
        """The cloud has been told that this is over, if it can be reached."""
        tunnel = self._tunnel
        if tunnel is None or not tunnel.connected:
            return
        try:
            async with asyncio.timeout(END_TIMEOUT):
                # Asked for already, it is stored there: with the answer we know as what.
                await self._known.wait()
                if self.state is not None:
                    await tunnel.call(EndExposure(self.state.id))
        except (LapdevError, TimeoutError):
            return  # it forgets by itself, later

    # TunnelHandler

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._tasks.spawn(self._announce(tunnel), "announce the exposure")

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        if tunnel is self._tunnel:
            self._reports.disconnected(str(error))

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        if tunnel is self._tunnel:
            self._tunnel = None

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        if not isinstance(message, RequestsSeen):
            raise RemoteProtocolError(f"an exposure takes no {type(message).__name__}")
        self._reports.requests(message.requests, message.more)
        return Done()

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        self._tasks.spawn(self._serve(stream, target), f"exposed stream {stream.stream_id}")

    # Inside

    async def _announce(self, tunnel: Tunnel) -> None:
        wanted = self._exposing
        request = StartExposure(wanted.key, wanted.kind, wanted.name, wanted.port, wanted.watch)
        while tunnel is self._tunnel and tunnel.connected:
            try:
                answer = await tunnel.call(request)
                if not isinstance(answer, ExposureState):
                    raise CallFailed("the cloud's answer is not about an exposure")
            except CallFailed as exc:
                if self.state is None:
                    self.fail(exc)
                    return
                self._reports.disconnected(exc.detail, exc.hint)
                await asyncio.sleep(ANNOUNCE_AGAIN)
            except LapdevError:
                return  # the link went down again: `tunnel_up` comes back here
            else:
                self.state = answer
                self._known.set()
                self._reports.exposed(answer)
                return

    async def _serve(self, stream: Stream, target: Target) -> None:
        # A visitor who waited may come before the answer that names the id.
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                await self._known.wait()
        except TimeoutError:
            stream.refuse(NoRoute("this machine exposes nothing yet", hop="devbox"))
            return
        if self.state is None or target != ExposureTarget(self.state.id):
            stream.refuse(NoRoute("this machine does not expose that", hop="devbox"))
            return
        if self._exposing.kind is ExposureKind.UDP:
            where = self._exposing.target
            host = _LOCAL.get(where.host, (where.host,))[0]
            await datagram_outlet(stream, (host, where.port))
        else:
            await self._join(stream)

    async def _join(self, stream: Stream) -> None:
        async def dial_target(
            factory: Callable[[], asyncio.Protocol],
        ) -> tuple[asyncio.Transport, asyncio.Protocol]:
            try:
                return await self._dial(factory)
            except ConnectFailed as exc:
                self._missed(_reason(exc))
                # A visitor need not learn what is called how on a developer's machine.
                raise ConnectFailed("the program behind this address does not run") from exc

        await outlet(stream, dial_target)

    async def _dial(
        self, factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        target = self._exposing.target
        *first, last = _LOCAL.get(target.host, (target.host,))
        for host in first:
            try:
                return await dial(TcpAddress(host, target.port), factory)
            except ConnectFailed:
                continue
        return await dial(TcpAddress(last, target.port), factory)

    async def _try_target(self) -> str:
        """Why nothing can be reached there; empty when something can."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                transport, _ = await self._dial(asyncio.Protocol)
        except ConnectFailed as exc:
            return _reason(exc)
        except TimeoutError:
            return f"no answer from {self._exposing.target} within {LOOK_TIMEOUT:g} s"
        transport.close()
        return ""

    def _missed(self, reason: str) -> None:
        if not self._looking:
            self._looking = True
            self._reports.target_lost(reason)
            self._tasks.spawn(self._wait_for_target(), "look for the target")

    async def _wait_for_target(self) -> None:
        """Nothing tells when another program begins to listen: it is asked."""
        while True:
            await asyncio.sleep(LOOKING_INTERVAL)
            if not await self._try_target():
                break
        self._looking = False
        self._reports.target_found()


def _reason(error: ConnectFailed) -> str:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return "nothing listens there"
    return error.detail


def exposure_key(directory: Path, kind: ExposureKind, what: str) -> str:
    """The key of this machine's exposure of `what`: always the same, and nobody else's.

    Raises:
        ConfigError: the machine's secret cannot be read or made.
    """
    secret = write_once(directory / "expose-key", lambda: secrets.token_hex(32))
    message = f"{kind.value}\0{what}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
