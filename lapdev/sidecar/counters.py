"""What a sidecar counts: plain integers on the hot path, read at scrape."""

from __future__ import annotations

from dataclasses import dataclass, field

from lapdev.net.admin import Metric, counter, gauge


@dataclass(slots=True)
class Counters:
    """Everything since the process began."""

    requests: dict[str, int] = field(
        default_factory=lambda: {"app": 0, "branch": 0, "intercept": 0, "fallback": 0, "none": 0}
    )
    """Exchanges by who answered; `none`: nobody could."""
    upstream_failures: int = 0
    """Candidates that could not be reached, and answers that broke off."""
    raw_connections: int = 0


@dataclass(slots=True)
class Gauges:
    """What is, now."""

    open_connections: int
    routes_generation: int
    feed_up: bool


def exposed(counters: Counters, now: Gauges) -> list[Metric]:
    """The numbers as a scrape sees them."""
    requests = Metric(
        "lapdev_sidecar_requests_total",
        "counter",
        "Exchanges by who answered; none: nobody could.",
        [({"via": via}, count) for via, count in counters.requests.items()],
    )
    return [
        requests,
        counter(
            "lapdev_sidecar_upstream_failures_total",
            "Candidates that could not be reached, and answers that broke off.",
            counters.upstream_failures,
        ),
        counter(
            "lapdev_sidecar_raw_connections_total",
            "Connections relayed without being read.",
            counters.raw_connections,
        ),
        gauge(
            "lapdev_sidecar_open_connections",
            "Accepted connections that are still open.",
            now.open_connections,
        ),
        gauge(
            "lapdev_sidecar_routes_generation",
            "Generation of the routes in force.",
            now.routes_generation,
        ),
        gauge("lapdev_sidecar_feed_up", "1 while the manager is connected.", int(now.feed_up)),
    ]
