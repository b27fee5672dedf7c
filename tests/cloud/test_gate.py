"""Who may open a tunnel, when the store itself is in trouble."""

from __future__ import annotations

from typing import cast

from lapdev.cloud.gate import Gate
from lapdev.net.http_server import HttpServer
from lapdev.net.tasks import Tasks
from lapdev.store import Store
from lapdev.tunnel import TunnelServer
from tests.support.raw import connect, listening
from tests.support.tunnel_ends import Watcher


class BrokenStore:
    """A store whose disk is gone."""

    async def token_valid(self, digest: str) -> bool:
        raise RuntimeError("no disk")


async def test_a_store_that_fails_is_answered() -> None:
    async with Tasks() as tasks:
        gate = Gate(cast("Store", BrokenStore()), tasks)
        door = TunnelServer(Watcher())
        gate.serve(door, door, door)
        server = HttpServer(gate.handle)
        async with listening(server.connection) as port, connect(port) as client:
            client.send(
                b"GET /_lapdev/tunnel/devbox HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n"
            )
            status, headers, _ = await client.response()
            assert (status, headers["lapdev-error"]) == (500, "internal_error; hop=cloud")
        await server.aclose()
