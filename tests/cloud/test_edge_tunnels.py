"""The edge and tunnels that come and go: every request is answered, and no stream is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.edge import Edge
from lapdev.cloud.exposures import Exposures
from lapdev.errors import TunnelClosed
from lapdev.log import AccessLog
from lapdev.model import ClusterId
from lapdev.net.http_server import HttpServer
from lapdev.net.tasks import Tasks
from lapdev.store import Store
from lapdev.tunnel import Stream, Tunnel, TunnelServer
from lapdev.wire.control import ReportCluster
from tests.routing.test_hosts import DOMAIN, INDEX, LABEL
from tests.support.raw import RawClient, connect, listening
from tests.support.tunnel_ends import Recorder, connected

GET = f"GET / HTTP/1.1\r\nHost: {LABEL}.{DOMAIN}\r\n\r\n".encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Links:
    """The tunnels a test has at hand, in place of a cluster's."""

    def __init__(self, *tunnels: Tunnel | None) -> None:
        self.tunnels = list(tunnels)

    def tunnel_nowait(self, cluster: ClusterId) -> Tunnel | None:
        return self.tunnels.pop(0)

    async def wait_tunnel(self, cluster: ClusterId) -> None: ...


@asynccontextmanager
async def edge_over(links: Links, leaving: TunnelServer | None = None) -> AsyncIterator[RawClient]:
    async with Tasks() as tasks:
        exposures = Exposures(cast("Store", None), tasks, None)
        access = AccessLog(len, "cloud")
        edge = Edge(DOMAIN, cast("ClusterLinks", links), exposures, tasks, access)
        edge.index = INDEX
        server = HttpServer(edge.handle)
        if leaving is not None:
            leaving.on_draining = lambda tunnel: edge.leave(tunnel, server.connections)
        async with listening(server.connection) as port, connect(port) as client:
            yield client
        await server.aclose()


async def test_a_request_that_waited_for_a_tunnel_that_is_over_is_answered(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ended = ends.acceptor.tunnel
        ended.end(TunnelClosed())
        async with edge_over(Links(None, ended)) as client:
            client.send(GET)
            status, headers, _ = await client.response()
            assert (status, headers["lapdev-error"]) == (503, "tunnel_closed; hop=edge")


class Answering(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(ANSWER)


async def test_a_stream_on_a_tunnel_that_is_away_is_closed_when_another_is_used(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with connected(tmp_path / "one") as one, connected(tmp_path / "two") as two:
        opened: list[Stream] = []

        def serve(stream: Stream) -> None:
            opened.append(stream)
            stream.accept(Answering(keep_open=False))

        one.watcher.serve = two.watcher.serve = serve
        first, second = one.acceptor.tunnel, two.acceptor.tunnel
        async with edge_over(Links(first, second)) as client:
            client.send(GET)
            assert (await client.response())[0] == 200
            await one.acceptor.stop_listening()
            one.cut()
            async with asyncio.timeout(5):
                await one.acceptor.watcher.wait_until(lambda seen: bool(seen.down))
                client.send(GET)
                assert (await client.response())[0] == 200
                await one.acceptor.start()
                # What was closed while its tunnel was away is closed there once it is back.
                await one.watcher.wait_until(lambda seen: len(seen.up) > 1)
                while first.stream_count:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert len(opened) == 2


async def test_a_connection_does_not_stay_on_a_tunnel_whose_process_is_about_to_stop(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with connected(tmp_path / "one") as one, connected(tmp_path / "two") as two:
        for ends in (one, two):
            ends.watcher.serve = lambda stream: stream.accept(Answering(keep_open=False))
        leaving, other = one.acceptor.tunnel, two.acceptor.tunnel
        async with (
            Tasks() as tasks,
            edge_over(Links(leaving, other), one.acceptor.server) as client,
        ):
            client.send(GET)
            assert (await client.response())[0] == 200
            draining = tasks.spawn(one.uplink.drain(30.0), "drain")
            async with asyncio.timeout(5):
                while not leaving.draining:
                    await one.tunnel.call(ReportCluster(version="1", driver="local"))
            async with asyncio.timeout(5):
                await draining  # the idle stream does not hold it up
            client.send(GET)
            assert (await client.response())[0] == 200
            assert (leaving.stream_count, other.stream_count) == (0, 1)
