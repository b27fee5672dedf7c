"""Streams the cloud opens to services: checked, dialled, relayed. Bytes are never looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lapdev.cluster.driver import Driver
from lapdev.errors import ConnectFailed, ConnectTimeout, Forbidden, LapdevError, NotReady
from lapdev.log import AccessLine, AccessLog
from lapdev.net.listener import dial
from lapdev.net.relay import Relay, Waiting, relay
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.wire.control import ServiceTarget, Target

CONNECT_ATTEMPTS = 3
CONNECT_TIMEOUT = 1.0
"""Of one attempt. All of them together, with the pauses between, stay within 5 s."""
CONNECT_PAUSE = 0.25
"""Before an endpoint is tried again: a restarting sidecar is back within that."""


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
        self.refused = 0
        self.active = 0

    def open(self, stream: Stream, target: Target) -> None:
        """The stream is being joined to one of the target's pods, or refused with the reason."""
        self.opened += 1
        self.active += 1
        self._tasks.spawn(self._join(stream, target), f"stream-{stream.stream_id}")

    async def _join(self, stream: Stream, target: Target) -> None:
        line = AccessLine(method="STREAM", route=_shown(target))
        started = asyncio.get_running_loop().time()
        try:
            if not isinstance(target, ServiceTarget):
                raise Forbidden("a manager opens services, not intercepts", hop="manager")
            self._check(target)
            transport, back = await self._dial(target)
        except LapdevError as exc:
            line.error = exc.cause
            self.refused += 1
            stream.refuse(exc)
            self._finished(line, started)
            return

        def on_done(joined: Relay) -> None:
            line.bytes_in, line.bytes_out = joined.bytes_from_a, joined.bytes_from_b
            self._finished(line, started)

        if stream.is_closing():  # the cloud gave up meanwhile
            transport.abort()
            line.error = "stream_reset"
            self._finished(line, started)
            return
        front = Waiting()
        stream.accept(front)
        joined = relay(stream, transport, on_done)
        _hand_over(front, joined.from_a, joined.eof_from_a)
        _hand_over(back, joined.from_b, joined.eof_from_b)

    async def _dial(self, target: ServiceTarget) -> tuple[asyncio.Transport, Waiting]:
        """A connection to one of the service's ready pods, each tried in turn."""
        error: LapdevError | None = None
        tried: set[str] = set()
        for attempt in range(CONNECT_ATTEMPTS):
            endpoints = self._driver.endpoints(target.namespace, target.service, target.port)
            if not endpoints:
                raise error or NotReady(f"no pod behind {_shown(target)} is ready", hop="manager")
            self._turn += 1
            untried = [endpoint for endpoint in endpoints if endpoint not in tried]
            if not untried:
                await asyncio.sleep(CONNECT_PAUSE * attempt)
            choice = untried or endpoints
            endpoint = choice[self._turn % len(choice)]
            tried.add(endpoint)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await dial(endpoint, Waiting)
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


def _hand_over(held: Waiting, data: Callable[[bytes], None], ended: Callable[[], None]) -> None:
    """What came before the relay began goes first."""
    if held.received:
        data(held.received)
    if held.ended:
        ended()


def _shown(target: Target) -> str:
    if isinstance(target, ServiceTarget):
        return f"{target.service}.{target.namespace}:{target.port}"
    return f"intercept:{target.port}"
