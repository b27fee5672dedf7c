"""What a scrape of a sidecar shows."""

from __future__ import annotations

from lapdev.net.admin import exposition
from lapdev.sidecar.counters import Counters, Gauges, exposed


def test_every_number_is_exposed_under_a_stable_name() -> None:
    counters = Counters(upstream_failures=2, raw_connections=3)
    counters.requests["branch"] += 4
    lines = exposition(exposed(counters, Gauges(5, 6, True))).decode().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'lapdev_sidecar_requests_total{via="app"} 0',
        'lapdev_sidecar_requests_total{via="branch"} 4',
        'lapdev_sidecar_requests_total{via="intercept"} 0',
        'lapdev_sidecar_requests_total{via="fallback"} 0',
        'lapdev_sidecar_requests_total{via="none"} 0',
        "lapdev_sidecar_upstream_failures_total 2",
        "lapdev_sidecar_raw_connections_total 3",
        "lapdev_sidecar_open_connections 5",
        "lapdev_sidecar_routes_generation 6",
        "lapdev_sidecar_feed_up 1",
    ]


def test_the_counts_of_two_sidecars_are_their_own() -> None:
    first, second = Counters(), Counters()
    first.requests["app"] += 1
    assert second.requests["app"] == 0
