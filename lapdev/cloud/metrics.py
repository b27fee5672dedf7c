"""What a scrape of the cloud sees: plain integers of its parts, read when asked for."""

from __future__ import annotations

from collections.abc import Sequence

from lapdev.cloud.edge import Edge
from lapdev.cloud.exposures import Exposures
from lapdev.cloud.tcp_previews import TcpPreviews
from lapdev.net.admin import Metric, counter, gauge
from lapdev.net.http_server import HttpServer
from lapdev.net.overload import Overload
from lapdev.tunnel import TunnelServer, tunnel_metrics

PEERS = ("manager", "sidecar", "devbox")


def metrics(
    server: HttpServer,
    edge: Edge,
    tunnels: Sequence[TunnelServer],
    tcp: TcpPreviews,
    exposures: Exposures,
    overload: Overload,
) -> list[Metric]:
    """Every family there is, with its value of this moment. `tunnels`: of managers, sidecars and
    devboxes.
    """
    counters = edge.counters
    return [
        gauge("lapdev_connections", "Open downstream connections.", len(server.connections)),
        gauge("lapdev_tunnels", "Open tunnels.", sum(len(list(t.tunnels)) for t in tunnels)),
        gauge("lapdev_previews", "Preview URLs the edge knows.", len(edge.index.entries)),
        gauge("lapdev_exposures", "Exposures whose devbox is connected.", exposures.connected),
        gauge(
            "lapdev_tcp_previews",
            "Raw TCP previews and exposures that are listened for.",
            tcp.listening,
        ),
        gauge("lapdev_tcp_connections", "Open connections to them.", tcp.connections),
        counter("lapdev_edge_requests_total", "Requests for preview hosts.", counters.requests),
        counter(
            "lapdev_edge_unknown_hosts_total",
            "Requests for hosts that are no preview.",
            counters.unknown_hosts,
        ),
        counter(
            "lapdev_edge_failures_total", "Requests the edge answered itself.", counters.failures
        ),
        counter("lapdev_edge_retries_total", "Requests sent a second time.", counters.retries),
        *tunnel_metrics({peer: [end] for peer, end in zip(PEERS, tunnels, strict=True)}),
        *overload.metrics(),
    ]
