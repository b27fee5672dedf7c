"""Readers of log lines: over pods that come and go, and too slow ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from lapdev.cluster.driver import LogQuery
from lapdev.cluster.log_reader import QUEUE_CHARACTERS, QUEUE_LINES, LogReader
from lapdev.cluster.output import Output
from lapdev.cluster.pod import Pod
from lapdev.errors import NotFound
from lapdev.model import LogLine


@dataclass
class Container:
    name: str
    output: Output


@dataclass
class Printing:
    """A pod as readers see it."""

    name: str
    containers: list[Container] = field(default_factory=list)
    sidecar: Container | None = None

    def say(self, *texts: str, container: int = 0) -> None:
        for text in texts:
            self.containers[container].output.note(text)


@pytest.fixture
def pod(tmp_path: Path) -> Printing:
    return printing("one", tmp_path)


def printing(name: str, folder: Path, *containers: str) -> Printing:
    return Printing(
        name,
        [Container(each, Output(folder / name / each)) for each in containers or ("web",)],
        Container("lapdev-sidecar", Output(folder / name / "sidecar")),
    )


def pods(*found: Printing) -> list[Pod]:
    return cast("list[Pod]", list(found))


async def texts(lines: AsyncIterator[LogLine]) -> list[str]:
    return [line.text.removeprefix("lapdev: ") async for line in lines]


async def test_what_was_printed_before_comes_by_time(tmp_path: Path) -> None:
    one, two = printing("one", tmp_path, "init", "web"), printing("two", tmp_path)
    one.say("a", "b")
    two.say("c")
    one.say("d", container=1)
    found = await LogReader(LogQuery("w")).backlog(pods(one, two))
    assert [(line.pod, line.container, line.text) for line in found] == [
        ("one", "init", "lapdev: a"),
        ("one", "init", "lapdev: b"),
        ("two", "web", "lapdev: c"),
        ("one", "web", "lapdev: d"),
    ]
    last = await LogReader(LogQuery("w", lines=1)).backlog(pods(one, two))
    assert [line.text for line in last] == ["lapdev: b", "lapdev: c", "lapdev: d"]


async def test_one_container_of_several(tmp_path: Path) -> None:
    one = printing("one", tmp_path, "init", "web")
    one.say("a")
    one.say("b", container=1)
    assert one.sidecar is not None
    one.sidecar.output.note("c")
    for container, seen in (("web", "b"), ("init", "a"), ("lapdev-sidecar", "c")):
        found = await LogReader(LogQuery("w", container)).backlog(pods(one))
        assert [line.text for line in found] == [f"lapdev: {seen}"]


async def test_lines_before_and_after_are_each_read_once(pod: Printing) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    pod.say("before")
    before = await reader.backlog(pods(pod))
    reader.attach(pods(pod))
    pod.say("after")
    reader.close()
    assert [line.text for line in before] == ["lapdev: before"]
    assert await texts(reader.lines()) == ["after"]


async def test_a_new_pod_is_read_from_its_beginning_and_one_that_is_gone_no_more(
    pod: Printing, tmp_path: Path
) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    await reader.backlog(pods(pod))
    new = printing("two", tmp_path)
    new.say("first")
    reader.attach(pods(new))
    pod.say("unheard")
    new.say("second")
    reader.close()
    assert await texts(reader.lines()) == ["first", "second"]


async def test_the_reason_of_an_end_comes_after_the_last_line(pod: Printing) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    reader.attach(pods(pod))
    pod.say("last")
    reader.close(NotFound("it is gone"))
    reader.close()
    lines = reader.lines()
    assert (await anext(lines)).text == "lapdev: last"
    with pytest.raises(NotFound, match="it is gone"):
        await anext(lines)


async def test_a_slow_reader_is_told_where_and_how_much_it_missed(pod: Printing) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    reader.attach(pods(pod))
    pod.say(*(str(number) for number in range(QUEUE_LINES + 3)))
    lines = reader.lines()
    first = await anext(lines)
    pod.say("later", "too late")
    reader.close()
    seen = [first.text, *[line.text async for line in lines]]
    assert seen[QUEUE_LINES - 1] == f"lapdev: {QUEUE_LINES - 1}"
    assert seen[QUEUE_LINES:] == [
        "lapdev: 3 lines were missed here",
        "lapdev: later",
        "lapdev: 1 line was missed here",
    ]


async def test_few_long_lines_fill_the_queue_too(pod: Printing) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    reader.attach(pods(pod))
    for _ in range(200):
        pod.say("x" * 15_000)
    reader.close()
    kept = [line.text async for line in reader.lines()]
    assert sum(len(text) for text in kept) < QUEUE_CHARACTERS + 40_000
    assert kept[-1].endswith("lines were missed here")


async def test_nobody_follows_after_the_end(pod: Printing) -> None:
    reader = LogReader(LogQuery("w", follow=True))
    reader.attach(pods(pod))
    reader.close()
    reader.close()
    reader.attach(pods(pod))
    pod.say("unheard")
    assert await texts(reader.lines()) == []
