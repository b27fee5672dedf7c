"""Streams from the cloud, over a real tunnel, to real sockets behind a driver that runs nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lapdev.errors import Forbidden, StreamRefused
from lapdev.log import AccessLog
from lapdev.manager import streams as module
from lapdev.manager.streams import ServiceStreams
from lapdev.net.address import TcpAddress
from lapdev.net.listener import Listener, bind_tcp, dial, listen
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.wire.control import Done, ServiceTarget
from tests.support.fake_driver import FakeDriver
from tests.support.tunnel_ends import Ends, Recorder, connected
from tests.support.watch import Watch

TARGET = ServiceTarget("shop", "api", 80)


class Endpoints(FakeDriver):
    """A driver whose endpoints are what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, ...]] = []
        """One for each time it is asked; the last one stays."""
        self.asked = 0

    def endpoints(self, namespace: str, service: str, port: int) -> tuple[str, ...]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Stage:
    """The cloud's end opens; the manager's end is `ServiceStreams`."""

    ends: Ends
    tasks: Tasks
    driver: Endpoints = field(default_factory=Endpoints)
    lines: list[dict[str, object]] = field(default_factory=list)
    logged: Watch = field(default_factory=Watch)
    apps: list[Listener] = field(default_factory=list)
    connections: list[Recorder] = field(default_factory=list)
    """What the apps serve."""
    forbidden: bool = False

    def __post_init__(self) -> None:
        self.log = AccessLog(self._line, "manager")
        self.streams = ServiceStreams(self.driver, self.tasks, self._check, self.log)
        self.ends.watcher.serve = self._serve

    def _serve(self, stream: Stream) -> None:
        assert isinstance(stream.target, ServiceTarget)
        self.streams.open(stream, stream.target)

    def _check(self, target: ServiceTarget) -> None:
        if self.forbidden:
            raise Forbidden("not yours")

    def _line(self, data: bytes) -> None:
        self.lines.extend(json.loads(line) for line in data.splitlines())
        self.logged()

    async def app(self) -> str:
        """The address of a server that echoes."""
        self.apps.append(await listen("127.0.0.1:0", self._served))
        return str(self.apps[-1].address)

    def _served(self) -> Recorder:
        self.connections.append(Recorder(echo=True, keep_open=False))
        return self.connections[-1]

    async def aclose(self) -> None:
        """No app listens, and every connection to one is over."""
        for app in self.apps:
            await app.aclose()
        for connection in self.connections:
            await connection.wait_until(lambda seen: bool(seen.lost))

    def open(self, target: ServiceTarget = TARGET) -> tuple[Stream, Recorder]:
        recorder = Recorder()
        return self.ends.acceptor.tunnel.open_stream(target, recorder), recorder

    async def refusal(self, target: ServiceTarget = TARGET) -> StreamRefused:
        stream, _ = self.open(target)
        with pytest.raises(StreamRefused) as refused:
            await stream.wait_accepted()
        return refused.value

    async def line(self) -> dict[str, object]:
        """The next access line; it is written soon after the stream is over."""
        await self.logged.until(lambda: self.lines)
        return self.lines.pop(0)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("lapdev.log.FLUSH_INTERVAL", 0.005)
    async with connected(tmp_path) as ends, Tasks() as tasks:
        stage = Stage(ends, tasks)
        yield stage
        await stage.aclose()
        stage.log.flush()


def closed_port() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def exchange(stream: Stream, recorder: Recorder, data: bytes) -> None:
    """`data` has come back, and both directions are over."""
    stream.write(data)
    stream.write_eof()
    await recorder.wait_until(lambda seen: seen.eof)
    assert recorder.data == data


async def test_bytes_go_to_a_pod_and_come_back(stage: Stage) -> None:
    stage.driver.answers = [(await stage.app(),)]
    stream, recorder = stage.open()
    await exchange(stream, recorder, b"hello" * 50_000)
    stream.close()
    line = await stage.line()
    assert (line["method"], line["route"]) == ("STREAM", "api.shop:80")
    assert (line["bytes_in"], line["bytes_out"]) == (250_000, 250_000)
    assert "error" not in line
    assert (stage.streams.opened, stage.streams.failed, stage.streams.active) == (1, 0, 0)


async def test_streams_are_spread_over_the_ready_pods(stage: Stage) -> None:
    apps = [await stage.app(), await stage.app()]
    seen: list[str] = []
    stage.driver.answers = [tuple(apps)]
    original = dial

    async def note(address: str, factory: module.ProtocolFactory) -> module.Connection:
        seen.append(address)
        return await original(address, factory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "dial", note)
        for _ in range(4):
            stream, recorder = stage.open()
            await exchange(stream, recorder, b"x")
            stream.close()
    assert sorted(seen) == sorted(apps * 2)


async def test_a_pod_that_refuses_is_followed_by_the_next(stage: Stage) -> None:
    good = await stage.app()
    for bad_first in (True, False):
        pair = (closed_port(), good) if bad_first else (good, closed_port())
        stage.driver.answers = [pair]
        stream, recorder = stage.open()
        await exchange(stream, recorder, b"x")
        stream.close()


async def test_a_pod_that_restarts_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_PAUSE", 0.001)
    stage.driver.answers = [(closed_port(),), (await stage.app(),)]
    stream, recorder = stage.open()
    await exchange(stream, recorder, b"x")
    stream.close()


async def test_nothing_listening_is_a_failed_connection_after_three_tries(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_PAUSE", 0.001)
    stage.driver.answers = [(closed_port(),)]
    refused = await stage.refusal()
    assert refused.cause == "connect_failed"
    assert "api.shop:80" in refused.detail
    assert stage.driver.asked == 3
    line = await stage.line()
    assert line["error"] == "connect_failed"
    assert (stage.streams.failed, stage.streams.active) == (1, 0)


async def test_a_pod_that_does_not_accept_in_time_is_a_timeout(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.01)
    monkeypatch.setattr(module, "CONNECT_PAUSE", 0.001)
    # A full backlog: the kernel leaves further connections waiting.
    full = bind_tcp(TcpAddress("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    stage.driver.answers = [(f"127.0.0.1:{port}",)]
    refused = await stage.refusal()
    assert refused.cause == "connect_timeout"
    for sock in (full, *fillers):
        sock.close()


async def test_no_ready_pod_is_not_ready(stage: Stage) -> None:
    stage.driver.answers = [()]
    refused = await stage.refusal()
    assert refused.cause == "not_ready"
    assert "api.shop:80" in refused.detail


async def test_a_service_that_is_unknown_to_the_driver_has_no_route(stage: Stage) -> None:
    plain = FakeDriver()
    stage.streams._driver = plain
    assert (await stage.refusal()).cause == "no_route"


async def test_what_the_cloud_may_not_dial_is_refused_undialled(stage: Stage) -> None:
    stage.forbidden = True
    stage.driver.answers = [(await stage.app(),)]
    assert (await stage.refusal()).cause == "forbidden"
    assert stage.driver.asked == 0


async def test_a_cloud_that_gives_up_while_we_dial_leaves_no_connection(stage: Stage) -> None:
    app = await stage.app()
    dialling, go_on = asyncio.Event(), asyncio.Event()
    original = dial

    async def slow(address: str, factory: module.ProtocolFactory) -> module.Connection:
        connection = await original(address, factory)
        dialling.set()
        await go_on.wait()
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "dial", slow)
        stage.driver.answers = [(app,)]
        stream, _ = stage.open()
        await dialling.wait()
        stream.abort()
        # A call made after the reset is answered after it.
        await stage.ends.acceptor.tunnel.call(Done())
        go_on.set()
        assert (await stage.line())["error"] == "stream_reset"
    assert stage.streams.active == 0


async def test_a_service_is_not_reached_by_datagrams(stage: Stage) -> None:
    refused = await stage.refusal(ServiceTarget("shop", "api", 80, "udp"))
    assert refused.cause == "no_route"
    assert "TCP only" in refused.detail
    assert stage.driver.asked == 0
