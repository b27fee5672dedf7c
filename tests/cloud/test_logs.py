"""What workloads print, from a manager's stream to an API client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lapdev.cloud.logs import HELD_BYTES, LINE_BYTES, LogLines
from lapdev.errors import NotFound
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import LogsTarget, Target
from tests.support.running_cloud import RunningCloud, StandInManager, connected, running_cloud
from tests.support.shop_manifests import deployment, shop
from tests.support.tunnel_ends import Recorder


@dataclass
class LogManager(StandInManager):
    """A manager whose log streams are the test's to write."""

    asked: asyncio.Queue[tuple[LogsTarget, Stream, Recorder]] = field(default_factory=asyncio.Queue)
    refuse_with: Exception | None = None

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        assert isinstance(target, LogsTarget)
        if isinstance(self.refuse_with, NotFound):
            stream.refuse(self.refuse_with)
            return
        recorder = Recorder()
        stream.accept(recorder)
        self.asked.put_nowait((target, stream, recorder))


@asynccontextmanager
async def stage(tmp_path: Path) -> AsyncIterator[tuple[RunningCloud, LogManager]]:
    """A shop with a branch that changed `api`."""
    async with running_cloud(tmp_path) as cloud:
        manager = LogManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            await cloud.ok("PUT", "/environments/shop", {"manifests": shop()})
            await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
            patch = {"patch": {"": {"image": "shop:2"}}}
            await cloud.ok("PUT", "/environments/fix/workloads/api", patch)
            yield cloud, manager


@asynccontextmanager
async def reading(
    cloud: RunningCloud, query: str, environment: str = "shop"
) -> AsyncIterator[httpx.Response]:
    path = f"/api/v1/environments/{environment}/logs?{query}"
    async with cloud.api.stream("GET", path) as answer:
        yield answer


def line(text: str) -> bytes:
    told = {"time": 1.5, "pod": "web-1", "container": "web", "text": text}
    return json.dumps(told).encode() + b"\n"


async def test_lines_arrive_as_they_are_printed_until_the_manager_ends_them(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as (cloud, manager):
        query = "workload=web&container=web&lines=7&follow=true"
        async with reading(cloud, query) as answer:
            target, stream, _ = await manager.asked.get()
            shop_id = (await cloud.ok("GET", "/environments/shop"))["id"]
            assert target == LogsTarget(shop_id, "web", "web", 7, True)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            lines = answer.aiter_lines()
            for text in ("first", "ünïcode", ""):
                stream.write(line(text))
                assert json.loads(await anext(lines))["text"] == text
            stream.write(line("last").rstrip(b"\n"))
            stream.close()
            assert [json.loads(item)["text"] async for item in lines] == ["last"]


async def test_by_default_the_last_hundred_of_every_container_and_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as (cloud, manager), reading(cloud, "workload=web") as answer:
        target, stream, _ = await manager.asked.get()
        assert (target.container, target.lines, target.follow) == ("", 100, False)
        stream.close()
        assert await answer.aread() == b""


@pytest.mark.parametrize(("workload", "owner"), [("api", "fix"), ("web", "shop")])
async def test_a_branch_shows_its_bases_lines_of_what_it_did_not_change(
    tmp_path: Path, workload: str, owner: str
) -> None:
    async with (
        stage(tmp_path) as (cloud, manager),
        reading(cloud, f"workload={workload}", "fix") as answer,
    ):
        target, stream, _ = await manager.asked.get()
        assert answer.headers["lapdev-logs-environment"] == owner
        assert target.environment == (await cloud.ok("GET", f"/environments/{owner}"))["id"]
        stream.close()
        await answer.aread()


async def test_a_client_that_leaves_ends_the_stream(tmp_path: Path) -> None:
    async with stage(tmp_path) as (cloud, manager):
        async with reading(cloud, "workload=web&follow=true") as answer:
            _, stream, recorder = await manager.asked.get()
            stream.write(line("x"))
            await anext(answer.aiter_lines())
        async with asyncio.timeout(5):
            await recorder.wait_until(lambda seen: bool(seen.lost))


async def test_a_stream_that_is_reset_ends_with_a_line_that_says_why(tmp_path: Path) -> None:
    async with (
        stage(tmp_path) as (cloud, manager),
        reading(cloud, "workload=web&follow=true") as answer,
    ):
        _, stream, _ = await manager.asked.get()
        lines = answer.aiter_lines()
        stream.write(line("x") + b'{"time": 2, "cut o')
        assert json.loads(await anext(lines))["text"] == "x"
        stream.reset(NotFound("the pod is gone"))
        (last,) = [json.loads(item) async for item in lines]
        assert last["error"]["detail"] == "the pod is gone"


async def test_a_tunnel_that_is_over_ends_with_a_line_that_says_why(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        manager = LogManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager) as tunnel:
            await cloud.ok("PUT", "/environments/shop", {"manifests": shop()})
            async with reading(cloud, "workload=web&follow=true") as answer:
                await manager.asked.get()
                await tunnel.aclose("going away")
                (last,) = [json.loads(item) async for item in answer.aiter_lines()]
                assert set(last["error"]) == {"cause", "detail", "hint"}


async def test_a_cloud_that_stops_does_not_wait_for_those_who_follow(tmp_path: Path) -> None:
    async with stage(tmp_path) as (cloud, manager):
        async with reading(cloud, "workload=web&follow=true") as answer:
            await manager.asked.get()
            os.kill(os.getpid(), signal.SIGTERM)
            (last,) = [json.loads(item) async for item in answer.aiter_lines()]
        assert last["error"]["detail"] == "the cloud is stopping"


@pytest.mark.parametrize(
    ("environment", "query", "status", "words"),
    [
        ("shop", "", 422, "several workloads"),
        ("shop", "workload=cart", 404, "no workload 'cart'"),
        ("shop", "workload=web&container=x", 404, "no container 'x'"),
        ("gone", "workload=web", 404, "no environment 'gone'"),
        ("shop", "workload=web&lines=-1", 422, "query.lines"),
        ("shop", "workload=web&lines=10001", 422, "query.lines"),
        ("shop", "workload=web&follow=often", 422, "query.follow"),
        ("shop", "workload=web", 404, "it has no pod"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, environment: str, query: str, status: int, words: str
) -> None:
    async with stage(tmp_path) as (cloud, manager):
        manager.refuse_with = NotFound("it has no pod", hop="manager")
        answer = await cloud.api.get(f"/api/v1/environments/{environment}/logs?{query}")
        assert answer.status_code == status
        assert words in answer.json()["error"]["detail"]


async def test_the_only_workload_needs_no_name(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        manager = LogManager()
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            await cloud.ok("PUT", "/environments/one", {"manifests": [deployment("only")]})
            async with reading(cloud, "", "one") as answer:
                target, stream, _ = await manager.asked.get()
                assert target.workload == "only"
                stream.close()
                await answer.aread()


async def test_a_cluster_that_is_away_is_503(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        await cloud.ok("PUT", "/environments/one", {"manifests": [deployment("only")]})
        answer = await cloud.api.get("/api/v1/environments/one/logs")
        assert (answer.status_code, answer.json()["error"]["cause"]) == (503, "not_ready")


# The reading end


class FakeTransport(asyncio.Transport):
    """Counts what a reader asks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.aborted = 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted += 1


def opened() -> tuple[LogLines, FakeTransport]:
    lines, transport = LogLines(), FakeTransport()
    lines.connection_made(transport)
    return lines, transport


async def test_lines_are_given_whole_however_they_arrive() -> None:
    text = b"".join(line(str(number)) for number in range(5))
    lines, _ = opened()
    given = b""
    for octet in text:
        lines.data_received(bytes([octet]))
        if octet == 10:
            piece = await lines.next_lines()
            assert piece.endswith(b"\n")
            given += piece
    assert given == text
    lines.eof_received()
    assert await lines.next_lines() == b""
    assert await lines.next_lines() == b""


async def test_a_slow_reader_makes_the_manager_wait() -> None:
    lines, transport = opened()
    lines.data_received(b"x" * HELD_BYTES + b"\n")
    assert transport.reading
    lines.data_received(b"yy\n")
    assert not transport.reading
    assert len(await lines.next_lines()) == HELD_BYTES + 4
    assert transport.reading


async def test_a_line_without_end_is_not_kept_for_ever() -> None:
    lines, transport = opened()
    for _ in range(LINE_BYTES // 65_536 + 1):
        lines.data_received(bytes(65_536))
    assert not transport.reading
    assert len(await lines.next_lines()) > LINE_BYTES


async def test_closing_twice_resets_once_and_the_reader_is_told_why_once() -> None:
    lines, transport = opened()
    lines.close(NotFound("over"))
    lines.close()
    assert transport.aborted == 1
    assert b'"over"' in await lines.next_lines()
    assert await lines.next_lines() == b""


async def test_an_end_without_a_word_is_told_too() -> None:
    lines, _ = opened()
    lines.connection_lost(None)
    assert b"error" in await lines.next_lines()
