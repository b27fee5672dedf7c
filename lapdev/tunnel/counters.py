"""What happens to the connections of tunnels, as a scrape sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lapdev.net.admin import Metric


@dataclass(slots=True)
class TunnelCounters:
    """Of one end, for all its sessions since the process began."""

    sessions: int = 0
    """Begun."""
    lost: int = 0
    """Connections that are gone while their session goes on, or waits."""
    resumed: int = 0
    """Connections that took the place of an earlier one of their link."""


class Counted(Protocol):
    """An `Uplink` or a `TunnelServer`."""

    counters: TunnelCounters

    @property
    def up(self) -> int:
        """Sessions that have a connection now."""


def tunnel_metrics(ends: Mapping[str, Iterable[Counted]]) -> list[Metric]:
    """Of all ends, by the role of their peers."""
    by_peer = {peer: list(each) for peer, each in ends.items()}

    def sums(name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        return [
            ({"peer": peer}, sum(getattr(end.counters, name) for end in each))
            for peer, each in by_peer.items()
        ]

    up = [({"peer": peer}, sum(end.up for end in each)) for peer, each in by_peer.items()]
    return [
        Metric("lapdev_tunnels_up", "gauge", "Tunnels that have a connection.", up),
        Metric("lapdev_tunnel_sessions_total", "counter", "Sessions begun.", sums("sessions")),
        Metric(
            "lapdev_tunnel_losses_total",
            "counter",
            "Connections lost, of sessions that went on or waited.",
            sums("lost"),
        ),
        Metric(
            "lapdev_tunnel_resumes_total",
            "counter",
            "Connections that took the place of an earlier one.",
            sums("resumed"),
        ),
    ]
