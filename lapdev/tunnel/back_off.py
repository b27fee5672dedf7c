"""When to dial again, and how long to wait for it to be heard."""

from __future__ import annotations

import secrets

from lapdev.tunnel.options import TunnelOptions

YOUNG_TRIES = 5
"""Together they outlast what is left of the grace time when a silence is noticed."""


class BackOff:
    """At once, then up to 0.25 s, doubling to 5 s; full jitter, so that a thousand peers that lost
    the same acceptor do not come back in step."""

    def __init__(self, options: TunnelOptions, now: float) -> None:
        self._options = options
        self._failures = 0
        self._down_since = now

    def connection_lost(self, up_since: float, now: float) -> None:
        """A connection made at `up_since` is gone."""
        self._down_since = now
        if now - up_since >= self._options.stable_after:
            self._failures = 0

    def connect_timeout(self) -> float:
        """Seconds that the next try may take to be heard at all."""
        options = self._options
        growth = 1.5 ** min(max(self._failures - YOUNG_TRIES, 0), 30)
        return min(options.connect_timeout * growth, options.handshake_timeout)

    def delay(self, now: float) -> float:
        """Seconds from the beginning of the last try to the next one, which this call counts."""
        options = self._options
        if self._failures == 0:
            self._failures = 1
            return 0.0
        long_down = now - self._down_since >= options.long_down
        most = options.retry_most_when_long_down if long_down else options.retry_most
        ceiling = min(options.retry_first * 2.0 ** min(self._failures - 1, 30), most)
        self._failures += 1
        return secrets.SystemRandom().uniform(0.0, ceiling)
