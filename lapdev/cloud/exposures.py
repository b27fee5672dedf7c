"""What devboxes expose: who announced which name or port, and the way there.

A devbox announces one address of its machine under a key of its own and is given an id; the cloud
opens streams to that id and never learns the address. Names and ports are stored, so that both
wait for a devbox that is away, also through a restart; who is connected is known here only.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from lapdev.cloud.clusters import HOLD_TIMEOUT
from lapdev.cloud.request_feed import RequestFeed
from lapdev.cloud.tcp_previews import TcpRange, TcpRoute
from lapdev.cloud.udp_ports import UdpPorts
from lapdev.errors import ConfigError, NotFound, NotReady
from lapdev.log import AccessLine
from lapdev.model import Exposure, ExposureId, ExposureKind
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import split_host
from lapdev.store import Store, no_tcp_ports
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import (
    Done,
    EndExposure,
    ExposureState,
    ExposureTarget,
    StartExposure,
)

FORGET_INTERVAL = 3_600.0

_KEY = re.compile(r"[0-9a-f]{64}")

ASK_THE_OWNER = "Whoever sent you the address has to start it: `lapdev expose` tells them."


@dataclass(slots=True)
class _Announced:
    exposure: Exposure
    feed: RequestFeed
    tunnels: list[Tunnel] = field(default_factory=list)
    """Of the devbox; the newest one is last."""
    up: asyncio.Event = field(default_factory=asyncio.Event)

    def tunnel(self) -> Tunnel | None:
        """The newest connected one; one whose process is about to stop for want of another only."""
        connected = [tunnel for tunnel in self.tunnels if tunnel.connected]
        staying = [tunnel for tunnel in connected if not tunnel.draining]
        found = staying or connected
        return found[-1] if found else None

    def settle(self) -> None:
        if self.tunnel() is None:
            self.up.clear()
        else:
            self.up.set()


class Exposures:
    """Every exposure there is, and its devbox's tunnels."""

    def __init__(self, store: Store, tasks: Tasks, ports: TcpRange | None) -> None:
        """`ports` is where raw ones are reached."""
        self.url_of: Callable[[Exposure], str] = lambda exposure: exposure.id
        self.ports_changed: Callable[[], Awaitable[None]] = _nothing
        """Awaited whenever what is exposed has changed at all."""
        self.port_problem: Callable[[ExposureId], str] = lambda id: ""
        self.admit: Callable[[], None] = lambda: None
        """Raises LapdevError when no sender of datagrams is to be taken on."""
        self._store = store
        self._tasks = tasks
        self._ports = ports
        self._udp = UdpPorts(ports, tasks)
        self._announced: dict[ExposureId, _Announced] = {}
        self._forget_at = 0.0

    async def load(self) -> None:
        """What is stored is known: its devboxes will come back. What is stored no more, and led
        nowhere, is not."""
        stored = {exposure.id: exposure for exposure in await self._store.exposures()}
        for id in [id for id, known in self._announced.items() if not known.tunnels]:
            if id not in stored:
                del self._announced[id]
        for exposure in stored.values():
            announced = self._know(exposure)
            if not announced.tunnels:
                announced.exposure = exposure
        await self._refresh_udp()

    @property
    def connected(self) -> int:
        """How many lead somewhere now."""
        return sum(announced.tunnel() is not None for announced in self._announced.values())

    # Devboxes

    async def start(self, tunnel: Tunnel, message: StartExposure) -> ExposureState:
        """The exposure leads to this tunnel's devbox.

        Raises:
            LapdevError: the key or the name is none, or there is no port.
        """
        if not _KEY.fullmatch(message.key):
            raise ConfigError("the key of an exposure is 64 hexadecimal digits")
        await self._forget_old()
        exposure = await self._store.keep_exposure(
            message.key,
            Exposure(ExposureId(message.name), message.kind, message.port),
            self._chooser(message.port),
        )
        announced = self._know(exposure)
        had_port, announced.exposure = announced.exposure.port, exposure
        if not tunnel.closed:
            if tunnel in announced.tunnels:
                announced.tunnels.remove(tunnel)
            announced.tunnels.append(tunnel)
            announced.feed.watch(tunnel, message.watch)
            announced.settle()
        if exposure.port is not None or had_port is not None:
            await self._refresh_ports()
        problem = ""
        if exposure.port is not None:
            datagrams = exposure.kind is ExposureKind.UDP
            problem = (self._udp.problem if datagrams else self.port_problem)(exposure.id)
        return ExposureState(exposure.id, self.url_of(exposure), problem)

    async def end(self, tunnel: Tunnel, message: EndExposure) -> Done:
        """It leads nowhere, unless another tunnel of its devbox has announced it, too.

        Raises:
            NotFound: this devbox has not announced it.
        """
        announced = self._announced.get(message.id)
        if announced is None or tunnel not in announced.tunnels:
            raise NotFound(f"this devbox exposes no {message.id!r:.80}")
        self._leave(announced, tunnel)
        if not announced.tunnels:
            del self._announced[message.id]
            await self._store.remove_exposure(message.id)
            if announced.exposure.port is not None:
                await self._refresh_ports()
        return Done()

    def tunnel_changed(self, tunnel: Tunnel) -> None:
        """A devbox's tunnel has come up, gone down, or is over."""
        for announced in self._announced.values():
            if tunnel in announced.tunnels:
                if tunnel.closed:
                    self._leave(announced, tunnel)
                announced.settle()

    # Visitors

    def lookup(self, host: bytes, domain: str) -> ExposureTarget | None:
        """What is exposed under `host`, which must be one label directly under `domain`."""
        parts = split_host(host)
        if parts is None or parts[1] != domain:
            return None
        announced = self._announced.get(ExposureId(parts[0]))
        if announced is None or announced.exposure.kind is not ExposureKind.HTTP:
            return None
        return ExposureTarget(announced.exposure.id)

    def routes(self) -> dict[str, TcpRoute]:
        """Those of TCP, by id."""
        found: dict[str, TcpRoute] = {}
        for id, announced in self._announced.items():
            port = announced.exposure.port
            if port is not None and announced.exposure.kind is ExposureKind.TCP:
                found[id] = TcpRoute(port, self, id, ExposureTarget(id), id, on_over=self.noter(id))
        return found

    def tunnel_nowait(self, id: ExposureId) -> Tunnel | None:
        """The connected tunnel of its devbox, or None."""
        announced = self._announced.get(id)
        return None if announced is None else announced.tunnel()

    def elsewhere(self, id: ExposureId, tunnel: Tunnel) -> bool:
        """A device is one."""
        return False

    async def wait_tunnel(self, id: ExposureId) -> Tunnel:
        """The connected tunnel of its devbox, after at most `HOLD_TIMEOUT`.

        Raises:
            NotReady: none came.
        """
        try:
            async with asyncio.timeout(HOLD_TIMEOUT):
                while (tunnel := self.tunnel_nowait(id)) is None:
                    announced = self._announced.get(id)
                    if announced is None:
                        raise TimeoutError  # ended meanwhile
                    await announced.up.wait()
        except TimeoutError as exc:
            raise NotReady(
                "the machine behind this address is not connected", hint=ASK_THE_OWNER, hop="cloud"
            ) from exc
        return tunnel

    def noter(self, id: ExposureId) -> Callable[[AccessLine], None]:
        """Tells the devbox of what ended there, if it wants to know."""

        def note(line: AccessLine) -> None:
            self.note(id, line)

        return note

    def note(self, id: ExposureId, line: AccessLine) -> None:
        """An exchange has ended."""
        announced = self._announced.get(id)
        if announced is not None:
            announced.feed.note(line)

    # Inside

    async def _refresh_ports(self) -> None:
        await self._refresh_udp()
        await self.ports_changed()

    async def _refresh_udp(self) -> None:
        wanted = {
            id: (announced.exposure.port, functools.partial(self._open_datagrams, id))
            for id, announced in self._announced.items()
            if announced.exposure.kind is ExposureKind.UDP and announced.exposure.port is not None
        }
        await self._udp.refresh(wanted)

    def _open_datagrams(self, id: ExposureId, protocol: asyncio.Protocol) -> Stream:
        self.admit()
        tunnel = self.tunnel_nowait(id)
        if tunnel is None:
            raise NotReady("the machine behind this address is not connected", hop="cloud")
        return tunnel.open_stream(ExposureTarget(id), protocol)

    async def _forget_old(self) -> None:
        """What is long gone keeps neither its name nor its port."""
        now = asyncio.get_running_loop().time()
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_INTERVAL
        live = [id for id, announced in self._announced.items() if announced.tunnels]
        forgotten = await self._store.forget_exposures(live)
        for id in forgotten:
            self._announced.pop(id, None)
        if forgotten:
            await self._refresh_ports()

    def _know(self, exposure: Exposure) -> _Announced:
        announced = self._announced.get(exposure.id)
        if announced is None:
            announced = _Announced(exposure, RequestFeed(exposure.id, self._tasks))
            self._announced[exposure.id] = announced
        return announced

    def _leave(self, announced: _Announced, tunnel: Tunnel) -> None:
        announced.tunnels.remove(tunnel)
        announced.feed.watch(tunnel, False)
        announced.settle()

    def _chooser(self, wanted: int) -> Callable[[Collection[int]], int]:
        ports = self._ports
        if ports is None:
            return no_tcp_ports
        if not wanted:
            return ports.choose
        return lambda taken: ports.choose_exactly(wanted, taken)


async def _nothing() -> None:
    """No port is listened for yet."""
