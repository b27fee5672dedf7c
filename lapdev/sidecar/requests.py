"""One request head at a time: who answers it, over which connection, and what is said about it.

Candidates are tried in the order of the decision. The next one is tried only while no body byte of
the request has gone anywhere; a connection that was kept open and turns out dead is replaced once,
for methods that may be repeated.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from lapdev.errors import LapdevError, TunnelError
from lapdev.log import AccessLine, AccessLog
from lapdev.model import SidecarIdentity
from lapdev.net.error_page import respond_error
from lapdev.net.exchange import Exchange
from lapdev.net.http_client import UpstreamConnection
from lapdev.net.http_connection import HttpConnection
from lapdev.net.proxy import Forwarding, forward
from lapdev.net.tasks import Tasks
from lapdev.routing.decide import decide
from lapdev.routing.table import (
    DIVERTED,
    BranchCandidate,
    Candidate,
    Decision,
    LaptopCandidate,
)
from lapdev.sidecar.counters import Counters
from lapdev.sidecar.feed import Routes
from lapdev.sidecar.laptops import LaptopUnreachableError
from lapdev.sidecar.outbound import Outbound, Upstreams
from lapdev.wire import tracestate
from lapdev.wire.http1 import (
    Framing,
    Headers,
    RequestHead,
    ResponseHead,
    header,
    strip_hop_by_hop,
    without_framing,
)

HOP: Final = "sidecar"
MARK: Final = b"lapdev-diverted"
"""On a request that a sidecar diverted to a branch: the receiving sidecar keeps it for its app."""
ANSWERED_BY: Final = b"lapdev-answered-by"
OURS: Final = b"lapdev-"
_UPSTREAMS: Final = "upstreams"


@dataclass(slots=True)
class Shared:
    """What all ports of one sidecar have in common."""

    identity: SidecarIdentity
    routes: Routes
    counters: Counters
    access: AccessLog
    tasks: Tasks


class RequestRouter:
    """Handles the exchanges of one service port."""

    __slots__ = ("_names", "_outbound", "_port", "_shared")

    def __init__(self, shared: Shared, outbound: Outbound, port: str) -> None:
        self._shared = shared
        self._outbound = outbound
        self._port = port

    def handle(self, exchange: Exchange) -> None:
        """Decides on the head and lets the exchange run. Never blocks."""
        request = exchange.request
        diverted = header(request.headers, MARK) is not None
        branch = None if diverted else tracestate.member(request.headers)
        table = self._shared.routes.table
        decision = decide(table, branch, diverted, self._port)
        headers = without_framing(strip_hop_by_hop(request.headers))
        if diverted:
            headers = [pair for pair in headers if pair[0].lower() != MARK]
        _Attempt(self, exchange, decision, headers).begin()

    def upstreams(self, connection: HttpConnection) -> Upstreams:
        """The upstream connections of `connection`; they are closed with it."""
        found = connection.state.get(_UPSTREAMS)
        if found is None:
            found = connection.state[_UPSTREAMS] = Upstreams(self._outbound)
            connection.on_close.append(found.close)
        assert isinstance(found, Upstreams)
        return found

    @property
    def shared(self) -> Shared:
        return self._shared

    @property
    def outbound(self) -> Outbound:
        return self._outbound


class _Attempt:
    """One exchange on its way through the candidates."""

    __slots__ = (
        "_candidate",
        "_decision",
        "_exchange",
        "_fallback",
        "_headers",
        "_index",
        "_retried",
        "_router",
        "_upstream",
        "_upstreams",
    )

    def __init__(
        self, router: RequestRouter, exchange: Exchange, decision: Decision, headers: Headers
    ) -> None:
        self._router = router
        self._exchange = exchange
        self._decision = decision
        self._headers = headers
        self._upstreams = router.upstreams(exchange.connection)
        self._upstream: UpstreamConnection | None = None
        self._index = 0
        self._candidate: Candidate = decision.candidates[0]
        self._fallback = ""
        """Why a candidate was passed over; empty while the first one answers."""
        self._retried = False
        exchange.on_finished = self._finished

    def begin(self) -> None:
        upstream = self._upstreams.idle(self._candidate)
        if upstream is not None:
            self._send(upstream)
        else:
            self._connect_from(0)

    def _connect_from(self, index: int) -> None:
        task = self._router.shared.tasks.spawn(self._connect(index), "exchange connects")
        self._exchange.on_abort = lambda _: _cancel(task)

    async def _connect(self, index: int) -> None:
        try:
            await self._try_from(index)
        except Exception:
            # Whatever went wrong here is logged by the task's owner; the client must not wait.
            respond_error(self._exchange, LapdevError(), HOP)
            raise

    async def _try_from(self, index: int) -> None:
        """The request is on its way to the first candidate from `index` on that is up."""
        error = LapdevError("there is nobody to ask")
        for position, candidate in enumerate(self._decision.candidates[index:], index):
            self._index, self._candidate = position, candidate
            try:
                upstream = await self._upstreams.connect(candidate)
            except LapdevError as exc:
                error = exc
                self._pass_over(exc)
                continue
            self._send(upstream)
            return
        respond_error(self._exchange, error, HOP)

    def _pass_over(self, error: LapdevError) -> None:
        kind = "intercept" if isinstance(self._candidate, LaptopCandidate) else "branch"
        word = error.word if isinstance(error, LaptopUnreachableError) else error.cause
        self._fallback = self._fallback or f"{kind}_{word}"
        self._router.shared.counters.upstream_failures += 1

    def _send(self, upstream: UpstreamConnection) -> None:
        request, headers = self._exchange.request, self._headers
        if isinstance(self._candidate, BranchCandidate):
            headers = [*headers, (MARK, self._candidate.branch.encode())]
        head = RequestHead(
            request.method,
            request.target,
            request.minor,
            headers,
            request.host,
            request.framing,
            request.content_length,
            upgrade=request.upgrade,
        )
        self._upstream = upstream
        forward(self._exchange, head, upstream, Forwarding(self._failed, self._edit_response))

    # Forwarding

    def _failed(self, exchange: Exchange, error: Exception, safe_to_retry: bool) -> None:
        """The connection was lost, or broke the protocol, before an answer began."""
        candidate, upstream = self._candidate, self._upstream
        assert upstream is not None
        if not isinstance(error, LapdevError):
            error = LapdevError(str(error))
        # A cut way to the candidate means that it is down. A branch's app that fails is answered
        # for by its own sidecar; a laptop's program that closes has failed, which its owner wants
        # to see.
        cut = not isinstance(candidate, LaptopCandidate) or isinstance(error, TunnelError)
        if isinstance(candidate, LaptopCandidate) and cut:
            self._router.outbound.suspect(candidate)
        if safe_to_retry and upstream.served > 1 and not self._retried:
            self._retried = True
            self._connect_from(self._index)
        elif safe_to_retry and cut and self._index + 1 < len(self._decision.candidates):
            self._pass_over(error)
            self._connect_from(self._index + 1)
        else:
            self._router.shared.counters.upstream_failures += 1
            respond_error(exchange, error, HOP)

    def _edit_response(self, head: ResponseHead) -> None:
        if head.framing is Framing.SWITCHED:
            self._leave_http()
        if isinstance(self._candidate, BranchCandidate):
            # What the branch's own sidecar says stands: it has looked at its app's answer.
            kept = [pair for pair in head.headers if pair[0].lower() != ANSWERED_BY]
            if len(kept) < len(head.headers) and not self._fallback:
                return
        else:
            # An app does not speak for us: neither who answered, nor what failed.
            kept = [pair for pair in head.headers if not pair[0].lower().startswith(OURS)]
        head.headers = [*kept, (ANSWERED_BY, self._answered_by())]

    def _leave_http(self) -> None:
        """The connections of an upgraded exchange live on their own; the others are done."""
        assert self._upstream is not None
        self._upstreams.release(self._upstream)
        self._upstreams.close()

    # What is said about it

    def _via(self) -> str:
        if self._fallback:
            return "fallback"
        if isinstance(self._candidate, LaptopCandidate):
            return "intercept"
        if isinstance(self._candidate, BranchCandidate) or self._decision is DIVERTED:
            return "branch"
        return "app"

    def _environment(self) -> str:
        candidate, shared = self._candidate, self._router.shared
        if isinstance(candidate, BranchCandidate):
            return candidate.name
        if isinstance(candidate, LaptopCandidate) and candidate.branch is not None:
            return shared.routes.names.get(candidate.branch, candidate.branch)
        return shared.identity.environment_name

    def _answered_by(self) -> bytes:
        reason = self._fallback or self._decision.reason
        workload = self._router.shared.identity.workload
        text = f"{workload}; env={self._environment()}; via={self._via()}; reason={reason}"
        return text.encode("ascii", "replace")

    def _finished(self, exchange: Exchange) -> None:
        """The end of the exchange, however it ended."""
        upstream, switched = self._upstream, exchange.status == 101
        if isinstance(self._candidate, LaptopCandidate) and upstream is not None and not switched:
            upstream.close()
        shared = self._router.shared
        via = self._via() if exchange.status and upstream is not None else "none"
        shared.counters.requests[via] += 1
        shared.access.line(self._access_line(exchange, via))

    def _access_line(self, exchange: Exchange, via: str) -> AccessLine:
        request = exchange.request
        return AccessLine(
            method=request.method.decode("latin-1"),
            path=request.target.decode("latin-1"),
            status=exchange.status,
            host=request.host.decode("latin-1"),
            route=via,
            duration_ms=(exchange.connection.now() - exchange.started_at) * 1000,
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            conn_id=exchange.connection.conn_id,
            exchange_id=(header(request.headers, b"x-request-id") or b"")[:64].decode("latin-1"),
            environment=self._environment(),
            workload=self._router.shared.identity.workload,
            error=exchange.error,
        )


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
