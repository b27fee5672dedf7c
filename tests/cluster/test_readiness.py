"""When a process counts as ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from lapdev.cluster import readiness
from lapdev.cluster.manifests import Handler, Probe
from lapdev.cluster.readiness import Check, probe_passes, watch
from lapdev.net.tasks import Tasks


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
    ("answer", "passes"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 399 x\r\n\r\n", True),
        (b"HTTP/1.1 199 x\r\n\r\n", False),
        (b"HTTP/1.1 400 x\r\n\r\n", False),
        (b"HTTP/1.1 503 x\r\n\r\n", False),
        (b"nonsense\r\n", False),
        (b"", False),
    ],
)
async def test_an_http_probe_wants_a_status_from_200_to_399(answer: bytes, passes: bool) -> None:
    async with answering(answer) as (port, _):
        assert await probe_passes("127.0.0.1", Probe(Handler("http", port))) is passes


async def test_an_http_probe_asks_for_its_path_with_its_headers() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        headers = (("Host", "shop"), ("X-Probe", "1"))
        probe = Probe(Handler("http", port, path="/up?x=1", headers=headers))
        assert await probe_passes("127.0.0.1", probe)
    (request,) = asked
    assert request.startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: shop\r\n")
    assert b"\r\nX-Probe: 1\r\n" in request


async def test_a_tcp_probe_wants_a_connection_and_no_more() -> None:
    async with answering(b"") as (port, _):
        assert await probe_passes("127.0.0.1", Probe(Handler("tcp", port)))
    assert not await probe_passes("127.0.0.1", Probe(Handler("tcp", port)))


async def followed(answers: Iterator[bool], check: Check) -> list[bool]:
    """What `watch` reports while the check gives these answers."""
    reports: list[bool] = []
    done = asyncio.Event()

    async def passes() -> bool:
        try:
            return next(answers)
        except StopIteration:
            done.set()
            await asyncio.Event().wait()
            raise AssertionError from None

    given = Check(passes, check.initial_delay, check.period, check.failure_threshold)
    async with Tasks() as tasks:
        following = tasks.spawn(watch(given, reports.append), "watch")
        waiting = tasks.spawn(done.wait(), "answered")
        await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
    return reports


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FIRST_RETRY", 0.0)


async def test_without_a_period_the_first_yes_is_the_last_word() -> None:
    answers = iter([False, False, True, False])
    assert await followed(answers, Check(None)) == [True]  # type: ignore[arg-type]
    assert next(answers) is False


async def test_a_probe_needs_as_many_failures_as_its_threshold_says() -> None:
    check = Check(None, period=0.0, failure_threshold=2)  # type: ignore[arg-type]
    answers = [True, False, True, False, False, False, True]
    assert await followed(iter(answers), check) == [True, True, False, True]
