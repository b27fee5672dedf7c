"""A new cloud process takes the place of the running one while requests come in: none fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lapdev.net.tasks import Tasks
from tests.cloud.test_tcp_previews import free_ports
from tests.support.cloud_process import CloudProcess, api_of, cloud_process, killed, start_cloud
from tests.support.raw import AppConnection, RawClient, connect, recording_app
from tests.support.running_cloud import RunningCloud, StandInManager, connected
from tests.support.shop_manifests import shop

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REQUESTS = 3_000
KEPT_OPEN, OPENED_EACH_TIME = 8, 4
LAST = b"4\r\nlast\r\n0\r\n\r\n"
FRAME = b"\x82\x05hello"
GOING_AWAY = b"\x88\x02\x03\xe9"


@dataclass
class Shop:
    """One app behind a preview, that answers, streams, and echoes websocket frames."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Streams end."""

    async def script(self, connection: AppConnection) -> None:
        while True:
            head = await connection.read_head()
            line = head.split(b"\r\n", 1)[0]
            if line.startswith(b"GET /slow"):
                connection.send(
                    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
                )
                await self.go_on.wait()
                connection.send(LAST)
            elif line.startswith(b"GET /socket"):
                connection.send(
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
                )
                while True:
                    connection.send(await connection.read_exactly(len(FRAME)))
            else:
                body = b""
                if line.startswith(b"POST"):
                    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                    body = await connection.read_exactly(int(length))
                connection.answer(line + b" " + body)


@dataclass
class Load:
    """Many clients that ask until they have asked enough; every answer is looked at."""

    port: int
    host: bytes
    asked: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    half: asyncio.Event = field(default_factory=asyncio.Event)

    def _next(self) -> bytes | None:
        if self.asked >= REQUESTS:
            return None
        self.asked += 1
        if self.asked == REQUESTS // 3:
            self.half.set()
        return b"%d" % self.asked

    async def keep_asking(self, *, fresh: bool) -> None:
        while self.asked < REQUESTS:
            async with connect(self.port) as client:
                while (number := self._next()) is not None:
                    close = await self._ask(client, number)
                    if close or fresh:
                        break

    async def _ask(self, client: RawClient, number: bytes) -> bool:
        if int(number) % 10 == 0:
            body = b"id=" + number
            client.send(
                b"POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (number, self.host, len(body), body)
            )
            expected = b"POST /%s HTTP/1.1 %s" % (number, body)
        else:
            client.send(b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (number, self.host))
            expected = b"GET /%s HTTP/1.1 " % number
        try:
            status, headers, answer = await client.response()
        except (OSError, EOFError, TimeoutError) as exc:
            self.failed.append(f"{number!r}: {exc!r}")
            return True
        self.answered[status] += 1
        if status != 200 or answer != expected:
            self.failed.append(f"{number!r}: {status} {answer!r}")
        return headers.get("connection") == "close"

    async def run(self) -> None:
        async with Tasks() as tasks:
            clients = [tasks.spawn(self.keep_asking(fresh=False), "kept") for _ in range(KEPT_OPEN)]
            clients += [
                tasks.spawn(self.keep_asking(fresh=True), "fresh") for _ in range(OPENED_EACH_TIME)
            ]
            await asyncio.gather(*clients)


@contextlib.asynccontextmanager
async def served(folder: Path, cloud: CloudProcess) -> AsyncIterator[tuple[RunningCloud, Shop]]:
    """A shop in an environment, its manager connected."""
    app = Shop()
    async with recording_app(app.script) as recording, api_of(folder) as running:
        manager = StandInManager({"web": recording, "api": recording})
        async with connected(running, "manager", running.cluster_token, manager):
            body = {"name": "shop", "kind": "shared", "manifests": shop()}
            await running.ok("POST", "/environments", body)
            yield running, app


async def ask(port: int, host: bytes) -> int:
    async with connect(port) as client:
        client.send(b"GET /new HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host)
        return (await client.response())[0]


async def test_three_thousand_requests_and_none_fails(tmp_path: Path) -> None:
    ports = f"--tcp-previews={free_ports(3)}"
    async with cloud_process(tmp_path, ports) as first, contextlib.AsyncExitStack() as stack:
        assert first.ready, first.log.read_text()
        running, app = await stack.enter_async_context(served(tmp_path, first))
        port, host = first.port, (await running.label_of("shop")).encode()
        raw = await running.ok(
            "POST", "/environments/shop/previews", {"service": "api", "port": 8080, "tcp": True}
        )
        tcp_port = int(raw["url"].rpartition(":")[2])

        slow = await stack.enter_async_context(connect(port))
        slow.send(b"GET /slow HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
        await slow.read_until(b"first\r\n")
        socket = await stack.enter_async_context(connect(port))
        socket.send(
            b"GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            % host
        )
        await socket.read_until(b"\r\n\r\n")
        tcp = await stack.enter_async_context(connect(tcp_port))
        tcp.send(b"GET /1 HTTP/1.1\r\n\r\n")
        assert (await tcp.response())[0] == 200

        load = Load(port, host)
        loading = asyncio.get_running_loop().create_task(load.run())
        await load.half.wait()
        second = await start_cloud(tmp_path, "second", ports, "--take-over")
        stack.push_async_callback(killed, second)
        assert second.ready, second.log.read_text()
        assert second.port == port
        async with asyncio.timeout(2):
            assert await ask(port, host) == 200
        await loading
        assert load.failed == []
        assert load.answered == {200: REQUESTS}

        # What was in flight goes on in the first.
        assert first.process.returncode is None
        socket.send(FRAME)
        assert await socket.read_exactly(len(FRAME)) == FRAME
        tcp.send(b"GET /2 HTTP/1.1\r\n\r\n")
        assert (await tcp.response())[0] == 200
        app.go_on.set()
        assert await slow.read_exactly(len(LAST)) == LAST
        assert await ask(tcp_port, b"x") == 200, "raw ports are the second's, too"
        for client in (socket, tcp, slow):
            client.writer.close()
        assert await first.ended() == 0
        assert "role_handed_over" in first.events()
        assert await ask(port, host) == 200
        view = await running.ok("GET", "/environments/shop")
        assert view["name"] == "shop"
        second.stop()
        assert await second.ended() == 0


async def test_nobody_to_take_over_from_is_a_start_like_any_other(tmp_path: Path) -> None:
    async with cloud_process(tmp_path, "--take-over") as cloud:
        assert cloud.ready
        assert cloud.events()[0] == "nobody_to_take_over_from"
        transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/a.sock")
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as admin:
            scraped = (await admin.get("/metrics")).text
        assert '\nlapdev_tunnels_up{peer="manager"} 0\n' in scraped
        assert "\nlapdev_tunnels 0\n" in scraped
        assert "\nlapdev_exposures 0\n" in scraped
        cloud.stop()
        assert await cloud.ended() == 0
    assert sorted(path.name for path in tmp_path.glob("**/*.sock")) == []


async def test_one_that_cannot_serve_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    async with cloud_process(tmp_path) as first:
        async with served(tmp_path, first) as (running, _):
            host = (await running.label_of("shop")).encode()
            other = await start_cloud(
                tmp_path, "other", "--take-over", "--edge-listen=unix:/nowhere/at-all.sock"
            )
            assert not other.ready
            assert await other.ended() == 1
            assert await ask(first.port, host) == 200
            assert await running.ok("GET", "/environments")
        assert "role_handed_over" not in first.events()
        first.stop()
        assert await first.ended() == 0


async def test_a_stop_under_load_finishes_what_it_took_and_tells_websockets(tmp_path: Path) -> None:
    async with cloud_process(tmp_path) as cloud, contextlib.AsyncExitStack() as stack:
        running, app = await stack.enter_async_context(served(tmp_path, cloud))
        port, host = cloud.port, (await running.label_of("shop")).encode()
        slow = await stack.enter_async_context(connect(port))
        slow.send(b"GET /slow HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
        await slow.read_until(b"first\r\n")
        socket = await stack.enter_async_context(connect(port))
        socket.send(
            b"GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            % host
        )
        await socket.read_until(b"\r\n\r\n")
        cloud.stop()
        while "role_stopping" not in cloud.events():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        socket.send(FRAME)
        assert await socket.read_exactly(len(FRAME)) == FRAME, "while a request is under way"
        with pytest.raises(ConnectionError):
            await ask(port, host)
        app.go_on.set()
        assert await slow.read_exactly(len(LAST)) == LAST
        slow.writer.close()
        assert await socket.read_exactly(len(GOING_AWAY)) == GOING_AWAY
        socket.writer.close()
        assert await cloud.ended() == 0
