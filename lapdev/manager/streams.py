"""Streams the cloud opens to services: checked, dialled, relayed. Bytes are never looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lapdev.cluster.driver import Driver
from lapdev.errors import ConnectFailed, ConnectTimeout, LapdevError, NoRoute, NotReady
from lapdev.log import AccessLine, AccessLog
from lapdev.net.listener import dial
from lapdev.net.relay import Relay
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, outlet
from lapdev.wire.control import ServiceTarget

CONNECT_ATTEMPTS = 3
CONNECT_TIMEOUT = 1.0
"""Of one attempt. All of them together, with the pauses between, stay within 5 s."""
CONNECT_PAUSE = 0.25
"""Before an endpoint is tried again: a sidecar that was killed is back by then."""

ProtocolFactory = Callable[[], asyncio.Protocol]
Connection = tuple[asyncio.Transport, asyncio.Protocol]


class ServiceStreams:
    """Opens what the cloud asks for, as far as `check` lets it."""

    def __init__(
        self,
        driver: Driver,
        tasks: Tasks,
        check: Callable[[ServiceTarget], None],
        access_log: AccessLog | None = None,
    ) -> None:
        """`check(target)` raises when the cloud may not dial the target."""
        self._driver = driver
        self._tasks = tasks
        self._check = check
        self._access_log = access_log
        self._turn = 0
        self.opened = 0
        self.failed = 0
        self.active = 0

    def open(self, stream: Stream, target: ServiceTarget) -> None:
        """The stream is being joined to one of the target's pods, or refused with the reason."""
        if target.protocol != "tcp":
            error = NoRoute(f"{_shown(target)} is reached over TCP only", hop="manager")
            stream.refuse(error)
            return
        self.opened += 1
        self.active += 1
        self._tasks.spawn(self._join(stream, target), f"stream-{stream.stream_id}")

    async def _join(self, stream: Stream, target: ServiceTarget) -> None:
        line = AccessLine(method="STREAM", route=_shown(target))
        started = asyncio.get_running_loop().time()

        async def connect(factory: ProtocolFactory) -> Connection:
            try:
                return await self._connect(target, factory)
            except LapdevError as exc:
                line.error = exc.cause
                raise

        def parted(joined: Relay) -> None:
            line.bytes_in, line.bytes_out = joined.bytes_from_a, joined.bytes_from_b
            self._finished(line, started)

        await outlet(stream, connect, parted)
        if not stream.accepted:
            line.error = line.error or "stream_reset"
            self.failed += 1
            self._finished(line, started)

    async def _connect(self, target: ServiceTarget, factory: ProtocolFactory) -> Connection:
        """A connection to one of the service's ready pods, each tried in turn."""
        self._check(target)
        error: LapdevError | None = None
        tried: set[str] = set()
        for attempt in range(CONNECT_ATTEMPTS):
            endpoints = self._driver.endpoints(target.namespace, target.service, target.port)
            if not endpoints:
                raise error or NotReady(f"no pod behind {_shown(target)} is ready", hop="manager")
            untried = [endpoint for endpoint in endpoints if endpoint not in tried]
            if not untried:
                await asyncio.sleep(CONNECT_PAUSE * attempt)
            self._turn += 1
            choice = untried or endpoints
            endpoint = choice[self._turn % len(choice)]
            tried.add(endpoint)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await dial(endpoint, factory)
            except TimeoutError:
                error = ConnectTimeout(f"{_shown(target)} does not accept in time", hop="manager")
            except ConnectFailed as exc:
                error = ConnectFailed(f"{_shown(target)}: {exc.detail}", hop="manager")
        assert error is not None
        raise error

    def _finished(self, line: AccessLine, started: float) -> None:
        self.active -= 1
        line.duration_ms = (asyncio.get_running_loop().time() - started) * 1000
        if self._access_log is not None:
            self._access_log.line(line)


def _shown(target: ServiceTarget) -> str:
    return f"{target.service}.{target.namespace}:{target.port}"
