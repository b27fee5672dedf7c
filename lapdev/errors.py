"""The error tree, on one page.

Every failure has a name. Each class states four facts: `status` (what a browser gets), `source`
(whose fault: downstream, upstream or internal), `retryable`, and `cause` (a machine-readable word
that crosses the wire and lands in logs, headers and JSON). The docstring is the default message.

    LapdevError
    ├── ProtocolError ── LocalProtocolError · RemoteProtocolError
    ├── TunnelError ──── TunnelClosed · TunnelRefused · StreamReset · StreamRefused · CallFailed
    ├── RouteError ───── NoRoute · NotReady · LoginRequired · Forbidden
    ├── UpstreamError ── ConnectFailed · ConnectTimeout · AnswerTimeout · UpstreamClosed
    ├── ClusterError
    ├── StoreError ───── NotFound · Conflict
    ├── Overloaded
    └── ConfigError
"""

from __future__ import annotations

from typing import ClassVar, Literal

Source = Literal["downstream", "upstream", "internal"]


class LapdevError(Exception):
    """Something went wrong inside lapdev."""

    status: ClassVar[int] = 500
    source: ClassVar[Source] = "internal"
    retryable: ClassVar[bool] = False
    cause: str = "internal_error"
    """An instance that stands for a peer's error carries the peer's word."""

    def __init__(self, detail: str = "", *, hint: str = "", hop: str = "") -> None:
        """`detail` names what is wrong, `hint` what to do next, `hop` where it happened."""
        doc = (type(self).__doc__ or "").split("\n", 1)[0]
        super().__init__(detail or doc)
        self.hint = hint
        self.hop = hop

    @property
    def detail(self) -> str:
        return str(self.args[0])


class ProtocolError(LapdevError):
    """A peer and we disagree about the wire."""

    cause = "protocol_error"


class LocalProtocolError(ProtocolError):
    """Our own code tried to send something the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow.

    `status` may be overridden per instance: it is the HTTP answer owed to a bad request.
    """

    source = "downstream"
    cause = "bad_request"

    def __init__(
        self, detail: str = "", *, status: int = 400, hint: str = "", hop: str = ""
    ) -> None:
        super().__init__(detail, hint=hint, hop=hop)
        self.answer_status = status


class TunnelError(LapdevError):
    """The tunnel failed."""

    status = 503
    retryable = True
    cause = "tunnel_error"


class TunnelClosed(TunnelError):
    """The tunnel is closed."""

    cause = "tunnel_closed"


class TunnelRefused(TunnelError):
    """The other end did not let us open a tunnel."""

    cause = "tunnel_refused"

    def __init__(
        self, detail: str = "", *, answer_status: int = 0, hint: str = "", retry_after: float = 0.0
    ) -> None:
        """`answer_status` is the HTTP status that was answered, 0 if none was; `retry_after` the
        seconds after which it is to be tried again, as far as the answer says."""
        super().__init__(detail, hint=hint)
        self.answer_status = answer_status
        self.retry_after = retry_after


class StreamReset(TunnelError):
    """The stream was aborted by the other end."""

    status = 502
    source = "upstream"
    retryable = False
    cause = "stream_reset"


class StreamRefused(TunnelError):
    """The other end refused to open the stream."""

    status = 502
    source = "upstream"
    cause = "stream_refused"


class CallFailed(TunnelError):
    """The other end could not carry out a control call."""

    status = 502
    retryable = False
    cause = "call_failed"


class Overloaded(LapdevError):
    """This process is overloaded; try again in a few seconds."""

    status = 503
    retryable = True
    cause = "overloaded"


class RouteError(LapdevError):
    """The request cannot be routed."""

    source: ClassVar[Source] = "downstream"
    cause = "route_error"


class NoRoute(RouteError):
    """Nothing is served under this name."""

    status = 404
    cause = "no_route"


class NotReady(RouteError):
    """The environment is not ready yet."""

    status = 503
    source = "upstream"
    retryable = True
    cause = "not_ready"


class LoginRequired(RouteError):
    """The request carries no valid credential."""

    status = 401
    cause = "login_required"


class Forbidden(RouteError):
    """The identity may not do this."""

    status = 403
    cause = "forbidden"


class UpstreamError(LapdevError):
    """The application did not answer as it should."""

    status = 502
    source = "upstream"
    cause = "upstream_error"


class ConnectFailed(UpstreamError):
    """Nothing accepts connections at the target."""

    retryable = True
    cause = "connect_failed"


class ConnectTimeout(UpstreamError):
    """The target did not accept a connection in time."""

    retryable = True
    cause = "connect_timeout"


class AnswerTimeout(UpstreamError):
    """The application took the request and did not begin to answer in time."""

    status = 504
    cause = "answer_timeout"


class UpstreamClosed(UpstreamError):
    """The application closed the connection before its answer was complete."""

    cause = "upstream_closed"


class ClusterError(LapdevError):
    """The cluster could not do what was asked."""

    status = 502
    cause = "cluster_error"


class StoreError(LapdevError):
    """The store could not do what was asked."""

    status = 503
    retryable = True
    cause = "store_error"


class NotFound(StoreError):
    """There is no such object."""

    status = 404
    source = "downstream"
    retryable = False
    cause = "not_found"


class Conflict(StoreError):
    """The object already exists, or is in use."""

    status = 409
    source = "downstream"
    retryable = False
    cause = "conflict"


class ConfigError(LapdevError):
    """A setting or a manifest is wrong."""

    status = 422
    source = "downstream"
    cause = "bad_config"
