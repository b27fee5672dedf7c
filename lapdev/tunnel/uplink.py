"""The dialling end: connects, proves who it is, resumes, and comes back when it was cut off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from lapdev.log import get_logger
from lapdev.net.tasks import Tasks
from lapdev.tunnel.back_off import BackOff
from lapdev.tunnel.counters import TunnelCounters
from lapdev.tunnel.dial import UplinkOptions
from lapdev.tunnel.dialler import Dialler
from lapdev.tunnel.handler import TunnelHandler
from lapdev.tunnel.sleep_watch import SleepWatch
from lapdev.tunnel.tunnel import Tunnel


class Uplink:
    """A session with whatever process answers at `options.address`.

    When that process says that it stops, the next session is opened first, with whoever answers
    there then; what is in flight in the old one ends in peace.
    """

    def __init__(self, options: UplinkOptions, handler: TunnelHandler) -> None:
        self.counters = TunnelCounters()
        self.on_failed: Callable[[Exception], None] | None = None
        """Runs after each try that failed; must not raise."""
        self._options = options
        self._handler = handler
        self._diallers: list[Dialler] = []
        """Oldest first; all but the last belong to processes that are stopping."""
        self._changed = asyncio.Event()
        self._watch = SleepWatch(self._woke, options.tunnel.wake_check_interval)

    @property
    def tunnel(self) -> Tunnel | None:
        """The newest connected session; while none is, the newest that may yet come back."""
        tunnels = [one.tunnel for one in reversed(self._diallers) if one.tunnel is not None]
        return next((one for one in tunnels if one.connected), tunnels[0] if tunnels else None)

    @property
    def up(self) -> int:
        """How many sessions are connected: mostly one, and two while a peer stops."""
        tunnels = [one.tunnel for one in self._diallers if one.tunnel is not None]
        return sum(tunnel.connected for tunnel in tunnels)

    @property
    def last_error(self) -> Exception | None:
        """Why the last try failed; None while connected. TunnelRefused: the credential."""
        return self._diallers[-1].last_error if self._diallers else None

    async def run(self) -> None:
        """Stays connected until cancelled; then every session is over at both ends."""
        async with Tasks() as tasks, self._watching():
            loop = asyncio.get_running_loop()
            back_off = BackOff(self._options.tunnel, loop.time())
            while True:
                began = loop.time()
                dialler = Dialler(self._options, self._handler, self._changed.set)
                dialler.counters = self.counters
                dialler.on_failed = self._failed
                self._diallers.append(dialler)
                tasks.spawn(self._keep(dialler), "tunnel session")
                await dialler.leaving.wait()
                # Who says it again and again does not get a session each time.
                back_off.connection_lost(began, loop.time())
                await asyncio.sleep(back_off.delay(loop.time()))

    async def wait_up(self) -> Tunnel:
        """The connected tunnel. Waits for as long as it takes."""
        while True:
            tunnel = self.tunnel
            if tunnel is not None and tunnel.connected:
                return tunnel
            self._changed.clear()
            await self._changed.wait()

    async def drain(self, seconds: float, reason: str = "the process stops") -> None:
        """The peer opens nothing new here; what is in flight ends, or is cut after `seconds`.

        To be followed by cancelling `run`.
        """
        tunnels = [one.tunnel for one in self._diallers if one.tunnel is not None]
        for tunnel in tunnels:
            tunnel.go_away(seconds, reason)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(tunnel.wait_idle() for tunnel in tunnels))

    async def _keep(self, dialler: Dialler) -> None:
        try:
            await dialler.run()
        finally:
            self._diallers.remove(dialler)

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        self._watch.start()
        try:
            yield
        finally:
            self._watch.stop()

    def _woke(self) -> None:
        get_logger().info("sleep_noticed", address=self._options.address)
        for dialler in self._diallers:
            dialler.woke()

    def _failed(self, error: Exception) -> None:
        if self.on_failed is not None:
            self.on_failed(error)
