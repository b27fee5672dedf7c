"""What processes print, kept within bounds."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.cluster import output
from lapdev.cluster.output import Output
from tests.support.watch import Watch


@pytest.fixture
async def out(tmp_path: Path) -> AsyncIterator[Output]:
    opened = Output(tmp_path / "logs" / "web.log")
    opened.open()
    yield opened
    opened.close()


def texts(out: Output, lines: int = 20_000) -> list[str]:
    return [text for _, text in out.last(lines)]


def say(out: Output, *pieces: bytes) -> None:
    """A process that prints these pieces, each taken by itself, and ends."""
    with out.writer() as fd:
        for piece in pieces:
            os.write(fd, piece)
            for pipe in list(out._pipes):
                pipe._readable()
    out.settle()


async def test_lines_reach_memory_and_a_private_file_with_their_time(out: Output) -> None:
    before = time.time()
    say(out, b"on", b"e\ntw", b"o\r\nthree")
    assert texts(out) == ["one", "two", "three"]
    assert texts(out, 1) == ["three"]
    assert texts(out, 0) == texts(out, -1) == []
    lines = [line.split(" ") for line in out.file.read_text().splitlines()]
    assert [text for _, text in lines] == ["one", "two", "three"]
    assert all(before - 0.001 <= float(stamp) <= time.time() + 0.001 for stamp, _ in lines)
    assert all(before - 0.001 <= stamp <= time.time() + 0.001 for stamp, _ in out.last(3))
    assert out.file.stat().st_mode & 0o777 == 0o600


async def test_what_a_process_writes_arrives_by_itself(out: Output) -> None:
    watch = Watch()
    out.follow(watch)
    with out.writer() as fd:
        os.write(fd, b"hello\n")
        await watch.until(lambda: texts(out) == ["hello"])
        os.write(fd, b"bye")
    await watch.until(lambda: texts(out) == ["hello", "bye"])
    await watch.until(lambda: not out._pipes)


async def test_an_unfinished_line_is_kept_apart_from_the_next_process(out: Output) -> None:
    with out.writer() as first, out.writer() as second:
        os.write(first, b"from the ")
        os.write(second, b"second\n")
        for pipe in list(out._pipes):
            pipe._readable()
        os.write(first, b"first")
        out.settle()
    assert texts(out) == ["second", "from the first"]


async def test_a_line_without_end_is_cut(out: Output) -> None:
    say(out, *[b"x" * output.LINE_BYTES] * 5, b"\nnext\n")
    assert all(len(line) <= output.LINE_BYTES for line in texts(out))
    assert texts(out, 1) == ["next"]


async def test_the_file_starts_over_when_it_is_full(
    out: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "FILE_BYTES", 60)
    say(out, *[b"line %d\n" % number for number in range(100)])
    assert sorted(path.name for path in out.file.parent.iterdir()) == ["web.log", "web.log.1"]
    assert all(path.stat().st_size <= 100 for path in out.file.parent.iterdir())
    assert out.file.read_text().endswith("line 99\n")


async def test_more_lines_than_memory_has_come_from_the_files(
    out: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "FILE_BYTES", 20_000)
    say(out, *[b"line %d\n" % number for number in range(1500)])
    assert (out.file.parent / "web.log.1").exists()
    assert texts(out, 500) == [f"line {number}" for number in range(1000, 1500)]
    assert len(texts(out)) > 500
    assert out.last(300)[-200:] == out.last(200)
    monkeypatch.setattr(output, "MOST_LINES", 250)
    assert len(texts(out)) == 250


async def test_what_was_printed_stays_readable_after_the_end(out: Output) -> None:
    say(out, *[b"line %d\n" % number for number in range(300)])
    with out.writer() as fd:
        os.write(fd, b"last words")
        out.close()
    out.close()
    assert texts(out, 300) == [f"line {number}" for number in range(1, 300)] + ["last words"]


async def test_all_that_fits_a_pipe_is_taken_when_its_process_has_ended(out: Output) -> None:
    lines = [f"line {number}".encode() for number in range(6000)]
    with out.writer() as fd:
        assert os.write(fd, b"\n".join(lines)) > 3 * output.READ_BYTES
        out.settle()
    assert texts(out, 6000) == [line.decode() for line in lines]
    assert out.taken == 6000


async def test_text_that_is_no_utf8_is_kept_readable(out: Output) -> None:
    say(out, b"caf\xe9\n")
    out.note("ended")
    assert texts(out) == ["caf\ufffd", "lapdev: ended"]
    out.close()
    out.note("nobody reads this file any more")


async def test_a_full_disk_costs_lines_in_the_file_and_nothing_else(out: Output) -> None:
    os.close(out._stream)
    out._stream = os.open("/dev/full", os.O_WRONLY)
    say(out, *[b"line %d\n" % number for number in range(300)])
    assert texts(out, 300) == [f"line {number}" for number in range(100, 300)]


async def test_followers_hear_lines_until_they_leave(out: Output) -> None:
    heard: list[str] = []
    leave = out.follow(lambda _, text: heard.append(text))
    say(out, b"one\ntwo\n")
    leave()
    leave()
    say(out, b"three\n")
    assert heard == ["one", "two"]


async def test_a_follower_that_fails_hears_no_more_and_costs_no_line(out: Output) -> None:
    calls: list[str] = []

    def broken(_: float, text: str) -> None:
        calls.append(text)
        raise ValueError

    out.follow(broken)
    say(out, b"one\ntwo\n")
    assert calls == ["one"]
    assert texts(out) == ["one", "two"]


async def test_what_one_run_printed_can_be_told_from_what_was_before(out: Output) -> None:
    say(out, b"old\n")
    mark = out.taken
    assert out.since(mark) == []
    say(out, b"new\nnewer\n")
    assert out.since(mark) == ["new", "newer"]
    say(out, b"more\n" * 300)
    assert len(out.since(mark)) == output.TAIL_LINES
