"""What a tunnel's far end says when it refuses, as an error of ours."""

from __future__ import annotations

from lapdev.errors import (
    ClusterError,
    ConfigError,
    ConnectFailed,
    ConnectTimeout,
    LapdevError,
    NoRoute,
    NotFound,
    NotReady,
    Overloaded,
    StreamRefused,
    UpstreamClosed,
)

_KNOWN: dict[str, type[LapdevError]] = {
    cls.cause: cls
    for cls in (
        ClusterError,
        ConfigError,
        ConnectFailed,
        ConnectTimeout,
        NoRoute,
        NotFound,
        NotReady,
        Overloaded,
    )
}


def told(error: Exception) -> LapdevError:
    """The error as people should see it: the far end's own reason, where it gave one we know."""
    if isinstance(error, StreamRefused):
        known = _KNOWN.get(error.cause)
        if known is not None:
            return known(error.detail, hint=error.hint, hop=error.hop)
    if isinstance(error, LapdevError):
        return error
    return UpstreamClosed(str(error))
