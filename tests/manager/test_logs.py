"""Log lines from a driver that prints what a test says, over a real tunnel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lapdev.cluster.driver import LogQuery
from lapdev.errors import ClusterError, NoRoute, StreamRefused, StreamReset
from lapdev.log import AccessLog
from lapdev.manager.logs import LogStreams, encode_line
from lapdev.model import EnvironmentId, LogLine
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.wire.control import Done, LogsTarget
from tests.support.fake_driver import FakeDriver
from tests.support.tunnel_ends import Ends, Recorder, connected
from tests.support.watch import Watch

SHOP = EnvironmentId("shopid0000000000")
TARGET = LogsTarget(SHOP, "api", "", lines=10, follow=False)
FOLLOW = LogsTarget(SHOP, "api", "", lines=10, follow=True)


def line(text: str, time: float = 1.5) -> LogLine:
    return LogLine(time, "api-0", "main", text)


class Printing(FakeDriver):
    """Its workloads have printed `printed`; those who follow hear what is put into `coming`."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[LogLine] = []
        self.coming: asyncio.Queue[LogLine | Exception] = asyncio.Queue()
        self.asked: list[tuple[str, LogQuery]] = []
        self.given = 0
        self.ended = asyncio.Event()

    async def logs(self, namespace: str, query: LogQuery) -> AsyncIterator[LogLine]:
        self.asked.append((namespace, query))
        try:
            for found in self.printed:
                self.given += 1
                yield found
            while query.follow:
                found = await self.coming.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            self.ended.set()


@dataclass
class Stage:
    """The cloud's end asks; the manager's end is `LogStreams`."""

    ends: Ends
    tasks: Tasks
    driver: Printing = field(default_factory=Printing)
    access: list[dict[str, object]] = field(default_factory=list)
    logged: Watch = field(default_factory=Watch)
    refusal: Exception | None = None

    def __post_init__(self) -> None:
        self.log = AccessLog(self._line, "manager")
        self.streams = LogStreams(self.driver, self.tasks, self._find, self.log)
        self.ends.watcher.serve = self._serve

    def _serve(self, stream: Stream) -> None:
        assert isinstance(stream.target, LogsTarget)
        self.streams.open(stream, stream.target)

    def _find(self, target: LogsTarget) -> tuple[str, LogQuery]:
        if self.refusal:
            raise self.refusal
        return "shop", LogQuery("api-1", target.container, target.lines, target.follow)

    def _line(self, data: bytes) -> None:
        self.access.extend(json.loads(line) for line in data.splitlines())
        self.logged()

    def open(self, target: LogsTarget) -> tuple[Stream, Recorder]:
        recorder = Recorder(keep_open=False)
        return self.ends.acceptor.tunnel.open_stream(target, recorder), recorder

    async def access_line(self) -> dict[str, object]:
        await self.logged.until(lambda: self.access)
        return self.access.pop(0)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("lapdev.log.FLUSH_INTERVAL", 0.005)
    async with connected(tmp_path) as ends, Tasks() as tasks:
        stage = Stage(ends, tasks)
        yield stage
        stage.log.flush()


def texts(recorder: Recorder) -> list[str]:
    """What has come in whole lines."""
    return [json.loads(found)["text"] for found in bytes(recorder.data).split(b"\n")[:-1]]


async def test_what_was_printed_comes_in_lines_and_then_the_end(stage: Stage) -> None:
    stage.driver.printed = [line("one"), line("two", 2.25)]
    _, recorder = stage.open(TARGET)
    await recorder.wait_until(lambda seen: seen.eof)
    assert bytes(recorder.data) == b"".join(map(encode_line, stage.driver.printed))
    assert json.loads(bytes(recorder.data).splitlines()[1]) == {
        "time": 2.25,
        "pod": "api-0",
        "container": "main",
        "text": "two",
    }
    assert stage.driver.asked == [("shop", LogQuery("api-1", "", 10, follow=False))]
    found = await stage.access_line()
    assert (found["method"], found["workload"], found["environment"]) == ("LOGS", "api", SHOP)
    assert found["bytes_out"] == len(recorder.data)
    assert "error" not in found
    assert stage.streams.active == 0


async def test_a_workload_that_has_printed_nothing_is_an_empty_log(stage: Stage) -> None:
    _, recorder = stage.open(TARGET)
    await recorder.wait_until(lambda seen: seen.eof)
    assert recorder.data == b""


async def test_whoever_follows_hears_of_each_line_at_once(stage: Stage) -> None:
    stage.driver.printed = [line("old")]
    stream, recorder = stage.open(FOLLOW)
    await stream.wait_accepted()
    for text in ("new", "newer"):
        stage.driver.coming.put_nowait(line(text))
        await recorder.wait_until(lambda seen, text=text: text in texts(seen))  # type: ignore[misc]
    assert texts(recorder) == ["old", "new", "newer"]
    stream.abort()
    await stage.driver.ended.wait()
    assert "error" not in await stage.access_line(), "following ends so"
    assert stage.streams.active == 0


async def test_a_silent_workload_is_followed_too(stage: Stage) -> None:
    stream, _ = stage.open(FOLLOW)
    await stream.wait_accepted()
    stream.abort()
    await stage.driver.ended.wait()


async def test_half_closing_does_not_end_the_lines(stage: Stage) -> None:
    stream, recorder = stage.open(FOLLOW)
    await stream.wait_accepted()
    stream.write_eof()
    stage.driver.coming.put_nowait(line("still"))
    await recorder.wait_until(lambda seen: texts(seen) == ["still"])
    stream.abort()
    await stage.driver.ended.wait()


async def test_a_slow_reader_is_waited_for(stage: Stage) -> None:
    stage.driver.printed = [line("x" * 10_000) for _ in range(1_000)]
    stream, recorder = stage.open(TARGET)
    await stream.wait_accepted()
    stream.pause_reading()
    # What is on its way has come with this answer; nothing more is asked for until it is read.
    await stage.ends.acceptor.tunnel.call(Done())
    assert 0 < stage.driver.given < 200
    stream.resume_reading()
    await recorder.wait_until(lambda seen: seen.eof)
    assert len(texts(recorder)) == 1_000


async def test_what_may_not_be_read_is_refused_unread(stage: Stage) -> None:
    stage.refusal = NoRoute("environment shop runs no workload apo; it runs api")
    stream, _ = stage.open(TARGET)
    with pytest.raises(StreamRefused, match="it runs api") as refused:
        await stream.wait_accepted()
    assert refused.value.cause == "no_route"
    assert stage.driver.asked == []
    assert (await stage.access_line())["error"] == "no_route"


async def test_a_driver_that_fails_later_is_told_as_the_reason(stage: Stage) -> None:
    stream, recorder = stage.open(FOLLOW)
    await stream.wait_accepted()
    stage.driver.coming.put_nowait(ClusterError("the disk is gone"))
    await recorder.wait_until(lambda seen: bool(seen.lost))
    (error,) = recorder.lost
    assert isinstance(error, StreamReset)
    assert (error.cause, error.detail) == (ClusterError.cause, "the disk is gone")


async def test_an_environment_that_goes_ends_those_who_follow_it(stage: Stage) -> None:
    stream, recorder = stage.open(FOLLOW)
    await stream.wait_accepted()
    stage.streams.end(EnvironmentId("another"))
    assert stage.streams.active == 1
    stage.streams.end(SHOP)
    await recorder.wait_until(lambda seen: bool(seen.lost))
    assert "being deleted" in str(recorder.lost[0])
    await stage.driver.ended.wait()


@pytest.mark.parametrize("text", ["", "a\nb", "\x00\x1b[31m", "\udcff", "ü€😀", '"}'])
def test_any_text_is_one_line_that_reads_back(text: str) -> None:
    data = encode_line(line(text))
    assert data.count(b"\n") == 1
    assert json.loads(data)["text"] == text
