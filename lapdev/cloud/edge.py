"""The preview edge: where a host leads, what may travel along, and over which stream.

Asked in this order: *where* (host → preview URL → environment, service, port), *who*, *may they*.
(Until there are users the last two are answered by the listener, which is on loopback.) Then every
routing entry the client sent is removed, ours are stamped, and the request goes through the
cluster's tunnel on a stream that belongs to this downstream connection alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.exposures import ASK_THE_OWNER, Exposures
from lapdev.cloud.refusals import told
from lapdev.cloud.stamp import stamp
from lapdev.cloud.upstreams import leave_tunnel, open_upstream, upstreams_of
from lapdev.cloud.ways import Ways
from lapdev.errors import (
    AnswerTimeout,
    ConnectFailed,
    LapdevError,
    NoRoute,
    NotReady,
    StreamRefused,
)
from lapdev.log import AccessLine, AccessLog
from lapdev.model import EnvironmentId, ExposureId
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.http_connection import HttpConnection
from lapdev.net.proxy import Forwarding, forward
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import PreviewEntry, PreviewIndex
from lapdev.tunnel import Tunnel
from lapdev.wire.control import ExposureTarget, ServiceTarget
from lapdev.wire.http1 import RequestHead

HOP = "edge"

_NO_PATH = "The address has other paths; its Ingress says which."


@dataclass(slots=True)
class EdgeCounters:
    """Plain integers; collected at scrape."""

    requests: int = 0
    unknown_hosts: int = 0
    failures: int = 0
    retries: int = 0


@dataclass(slots=True)
class _Request:
    """What is sent, and where: decided once, whatever number of attempts it takes."""

    head: RequestHead
    ways: Ways
    owner: object
    """Whose tunnels lead there, as `ways` knows them."""
    target: ServiceTarget | ExposureTarget

    def explained(self, error: Exception) -> LapdevError:
        """What the visitor is told."""
        found = told(error)
        if isinstance(self.target, ExposureTarget) and isinstance(found, ConnectFailed):
            found.hint = found.hint or ASK_THE_OWNER
        return found


class Edge:
    """Answers requests for preview hosts."""

    def __init__(
        self,
        domain: str,
        clusters: ClusterLinks,
        exposures: Exposures,
        tasks: Tasks,
        access: AccessLog,
    ) -> None:
        self.domain = domain
        self.answer_timeout = 0
        """Seconds an app may take to begin its answer, where its preview says nothing; 0: any."""
        self.index = PreviewIndex()
        """Replaced whole whenever previews or environments change."""
        self.refreshing: asyncio.Task[None] | None = None
        """A newer index is being made: a host that is not in this one may be in that."""
        self.counters = EdgeCounters()
        self._clusters = clusters
        self._exposures = exposures
        self._tasks = tasks
        self._access = access

    def handle(self, exchange: Exchange) -> None:
        """Takes over one request for some host below the preview domain."""
        exchange.on_finished = self._log
        self.counters.requests += 1
        self._route(exchange)

    async def _handle_refreshed(self, exchange: Exchange, refreshing: asyncio.Task[None]) -> None:
        await asyncio.wait([refreshing])
        if not exchange.finished:
            self._route(exchange)

    def _route(self, exchange: Exchange) -> None:
        request = exchange.request
        entry = self.index.lookup(request.host, self.domain)
        if entry is None and (exposed := self._exposures.lookup(request.host, self.domain)):
            exchange.notes["route"] = exchange.notes["exposure"] = exposed.exposure
            head = self._stamped(exchange, None)
            self._send(exchange, _Request(head, self._exposures, exposed.exposure, exposed))
            return
        if entry is None and self.refreshing is not None and not self.refreshing.done():
            self._tasks.spawn(self._handle_refreshed(exchange, self.refreshing), "await previews")
            return
        if entry is None:
            self.counters.unknown_hosts += 1
            error = NoRoute(
                "There is no preview under this address.",
                hint="Check the link for typing errors; the environment may have been deleted. "
                "`lapdev preview list` shows what exists.",
            )
            respond_error(exchange, error, HOP)
            return
        exchange.notes["environment"] = entry.environment.name
        target = entry.paths.find(request.target)
        if target is None:
            self.counters.failures += 1
            respond_error(exchange, NoRoute("Nothing answers this path.", hint=_NO_PATH), HOP)
            return
        exchange.notes["route"] = f"{target.service}:{target.port}"
        if timeout := _answer_timeout(entry, self.answer_timeout):
            exchange.expect_answer(timeout, self._unanswered)
        head = self._stamped(exchange, entry.branch)
        self._send(exchange, _Request(head, self._clusters, entry.environment, target))

    def _stamped(self, exchange: Exchange, branch: EnvironmentId | None) -> RequestHead:
        exchange_id = secrets.token_hex(16)
        exchange.notes["exchange_id"] = exchange_id
        return stamp(exchange, branch, exchange_id)

    def leave(self, tunnel: Tunnel, connections: Iterable[HttpConnection]) -> None:
        """The far end is about to stop: nothing idle of these connections stays on the tunnel."""
        for connection in connections:
            leave_tunnel(connection, tunnel)

    def _unanswered(self, exchange: Exchange) -> None:
        """An app that hangs is given up; a debugger that stands at a breakpoint is not."""
        timeout = exchange.answer_timeout
        if self._clusters.intercepted:
            exchange.expect_answer(timeout, self._unanswered)
            return
        error = AnswerTimeout(
            f"The application has not begun to answer within {timeout:g} seconds.",
            hint="`lapdev env logs` shows what it is doing; "
            "`lapdev preview create --answer-timeout` gives it more time.",
        )
        if exchange.on_abort is not None:
            exchange.on_abort(error)
            exchange.on_abort = exchange.flow = None
        self.counters.failures += 1
        respond_error(exchange, error, HOP)

    # One attempt

    def _send(self, exchange: Exchange, request: _Request, attempt: int = 1) -> None:
        upstreams = upstreams_of(exchange)
        target = request.target
        upstream = upstreams.get(target)
        if upstream is None or not upstream.reusable:
            tunnel = request.ways.tunnel_nowait(request.owner)
            if tunnel is None:
                self._tasks.spawn(self._hold(exchange, request, attempt), "hold for tunnel")
                return
            if upstream is not None:
                # Also when its tunnel is away: nobody would close it when that is back.
                upstream.connection.close()
            try:
                upstream = upstreams[target] = open_upstream(tunnel, target)
            except LapdevError as exc:
                self.counters.failures += 1
                respond_error(exchange, exc, HOP)
                return

        def failed(exchange: Exchange, error: Exception, safe_to_retry: bool) -> None:
            upstreams.pop(target, None)
            reused = upstream.connection.served > 1
            again = reused or not upstream.tunnel.connected
            if isinstance(error, StreamRefused) and error.cause == NotReady.cause:
                again = request.ways.elsewhere(request.owner, upstream.tunnel)
            if attempt == 1 and safe_to_retry and again:
                self.counters.retries += 1
                self._send(exchange, request, attempt + 1)
                return
            self.counters.failures += 1
            respond_error(exchange, request.explained(error), HOP)

        forward(exchange, request.head, upstream.connection, Forwarding(failed))

    async def _hold(self, exchange: Exchange, request: _Request, attempt: int) -> None:
        """A tunnel that is just being re-made is worth a short wait (tunnel.md)."""
        try:
            await request.ways.wait_tunnel(request.owner)
        except NotReady as exc:
            self.counters.failures += 1
            if not exchange.finished:
                respond_error(exchange, exc, HOP)
            return
        if not exchange.finished:
            self._send(exchange, request, attempt)

    def _log(self, exchange: Exchange) -> None:
        request, notes = exchange.request, exchange.notes
        duration = exchange.connection.now() - exchange.started_at
        line = AccessLine(
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            status=exchange.status,
            host=request.host.decode("latin-1"),
            route=notes.get("route", ""),
            duration_ms=duration * 1e3,
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            conn_id=exchange.connection.conn_id,
            exchange_id=notes.get("exchange_id", ""),
            environment=notes.get("environment", ""),
            error=exchange.error,
        )
        self._access.line(line)
        if exposure := notes.get("exposure"):
            self._exposures.note(ExposureId(exposure), line)


def _answer_timeout(entry: PreviewEntry, usual: int) -> float:
    own = entry.preview.answer_timeout
    return usual if own is None else own
