"""What probes and hooks do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lapdev.cluster import handlers
from lapdev.cluster.handlers import Surface, describe, perform
from lapdev.cluster.manifests import Handler
from lapdev.cluster.spawner import Child, Command, Spawner
from lapdev.errors import ClusterError
from lapdev.net.tasks import Tasks
from tests.support.watch import Watch


async def nothing(_command: tuple[str, ...], _output: int) -> Child:
    raise ClusterError("pod web-x has gone")


HERE = Surface("127.0.0.1", nothing)


@asynccontextmanager
async def answering(text: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every connection with `text`, and what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if text:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(text)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 399 x\r\n\r\n", ""),
        (b"HTTP/1.1 204\r\n\r\n", ""),
        (b"HTTP/1.1 199 x\r\n\r\n", "status 199"),
        (b"HTTP/1.1 400 x\r\n\r\n", "status 400"),
        (b"HTTP/1.1 503 x\r\n\r\n", "status 503"),
        (b"nonsense\r\n", "no HTTP answer"),
        (b"x" * 100_000, "no HTTP answer"),
    ],
)
async def test_an_http_request_wants_a_status_from_200_to_399(answer: bytes, why: str) -> None:
    async with answering(answer) as (port, _):
        said = await perform(Handler("http", port, path="/up"), HERE, 5)
    assert said == (f"GET :{port}/up: {why}" if why else "")


async def test_a_connection_that_is_closed_is_no_answer() -> None:
    async with answering(b"") as (port, _):
        assert await perform(Handler("http", port), HERE, 5)


async def test_an_http_request_has_its_path_and_headers() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        headers = (("Host", "shop"), ("X-Probe", "1"))
        assert not await perform(Handler("http", port, path="/up?x=1", headers=headers), HERE, 5)
    (request,) = asked
    assert request.startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: shop\r\n")
    assert b"\r\nX-Probe: 1\r\n" in request


async def test_a_host_of_its_own_is_asked_instead_of_the_pod() -> None:
    async with answering(b"") as (port, _):
        elsewhere = Surface("127.0.0.2", nothing)
        assert await perform(Handler("tcp", port), elsewhere, 5)
        assert not await perform(Handler("tcp", port, host="127.0.0.1"), elsewhere, 5)


async def test_a_tcp_probe_wants_a_connection_and_no_more() -> None:
    async with answering(b"") as (port, _):
        assert not await perform(Handler("tcp", port), HERE, 5)
    assert await perform(Handler("tcp", port), HERE, 5) == f"tcp :{port}: Connection refused"


async def test_a_name_nobody_knows_is_a_reason() -> None:
    for host in ("no.such.host.invalid", "x" * 70 + ".shop", "a..b"):
        assert await perform(Handler("tcp", 1, host=host), HERE, 5)


class Machine:
    """Where commands run."""

    def __init__(self) -> None:
        self.spawner = Spawner(sys.executable, isolation=False)
        self.started: list[Child] = []
        self.starts = Watch()
        self.surface = Surface("127.0.0.1", self.execute)

    async def execute(self, command: tuple[str, ...], output: int) -> Child:
        self.started.append(await self.spawner.spawn(Command([*command], {}, output=output)))
        self.starts()
        return self.started[-1]

    async def sh(self, script: str, wait: float | None = 10.0) -> str:
        return await perform(Handler("exec", command=("/bin/sh", "-c", script)), self.surface, wait)


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    made = Machine()
    yield made
    await made.spawner.aclose()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo fine", ""),
        ("echo one; echo no database >&2; echo; exit 2", "exit code 2: no database"),
        ("exit 1", "exit code 1"),
        ("kill -9 $$", "ended by SIGKILL"),
        ("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1",
         "exit code 1: line 2999"),
    ],
)  # fmt: skip
async def test_a_command_succeeds_by_its_status(machine: Machine, script: str, why: str) -> None:
    assert await machine.sh(script) == why


async def test_a_command_that_takes_too_long_is_ended_with_what_it_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "ENTRY_TIME", 0.0)
    command = ("/bin/sh", "-c", "sleep 1000 & sleep 1000")
    started = await machine.execute(command, 1)

    async def execute(_command: tuple[str, ...], _output: int) -> Child:
        return started

    surface = Surface("127.0.0.1", execute)
    said = await perform(Handler("exec", command=command), surface, 0.05)
    assert said == "/bin/sh -c sleep 1000 & sleep 1000: no answer in 0.05 s"
    assert not machine.started[0].running


async def test_a_command_ends_with_whoever_asked(machine: Machine) -> None:
    async with Tasks() as tasks:
        asking = tasks.spawn(machine.sh("exec sleep 1000", None), "ask")
        await machine.starts.until(lambda: machine.started)
    assert asking.cancelled()
    assert not machine.started[0].running


async def test_a_command_that_cannot_be_started_is_a_reason(machine: Machine) -> None:
    assert await perform(Handler("exec", command=("x",)), HERE, 1) == "pod web-x has gone"
    why = await perform(Handler("exec", command=("/no/such",)), machine.surface, 1)
    assert "No such file" in why


async def test_a_pause_succeeds() -> None:
    assert not await perform(Handler("sleep", seconds=0.0), HERE, 1)
    assert await perform(Handler("sleep", seconds=9.0), HERE, 0.0) == "sleep 9: no answer in 0 s"


def test_a_long_command_is_cut() -> None:
    assert describe(Handler("exec", command=("x" * 200,))) == "x" * 79 + "…"
