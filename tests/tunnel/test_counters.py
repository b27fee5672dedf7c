"""What a scrape sees of tunnels."""

from __future__ import annotations

from pathlib import Path

from lapdev.net.admin import exposition
from lapdev.tunnel import TunnelServer, Uplink, tunnel_metrics
from tests.support.tunnel_ends import connected
from tests.tunnel.test_link import until


def told(end: Uplink | TunnelServer) -> tuple[int, int, int, int]:
    """(sessions up, begun, connections lost, resumed)"""
    return end.up, end.counters.sessions, end.counters.lost, end.counters.resumed


async def test_losses_and_what_made_up_for_them_are_counted_at_both_ends(tmp_path: Path) -> None:
    async with connected(tmp_path, links=2) as ends:
        both = (ends.uplink, ends.acceptor.server)
        await until(ends, lambda: len(ends.acceptor.tunnel.links) == 2)
        assert [told(end) for end in both] == [(1, 1, 0, 0)] * 2, "a link that joins is no resume"
        ends.cut(1)
        await until(ends, lambda: all(told(end) == (1, 1, 1, 1) for end in both))
        ends.cut()
        await until(ends, lambda: all(told(end) == (1, 1, 3, 3) for end in both))
        ends.acceptor.refuse_with = 500
        downs = [len(seen.down) for seen in (ends.watcher, ends.acceptor.watcher)]
        ends.cut()
        await ends.watcher.wait_until(lambda seen: len(seen.down) > downs[0])
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.down) > downs[1])
        assert [told(end) for end in both] == [(0, 1, 5, 3)] * 2


async def test_they_are_told_by_the_role_of_the_peer_and_summed(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        uplink = ends.uplink
        uplink.counters.lost = 4
        scraped = exposition(tunnel_metrics({"cloud": [uplink, uplink], "sidecar": []})).decode()
        assert '\nlapdev_tunnels_up{peer="cloud"} 2\n' in scraped
        assert '\nlapdev_tunnel_losses_total{peer="cloud"} 8\n' in scraped
        assert '\nlapdev_tunnel_sessions_total{peer="sidecar"} 0\n' in scraped
