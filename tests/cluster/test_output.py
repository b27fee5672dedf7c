"""What processes print, kept within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lapdev.cluster import output
from lapdev.cluster.output import Output


async def opened(folder: Path) -> Output:
    out = Output(folder / "pod" / "web.log")
    await out.open()
    return out


async def test_lines_reach_the_tail_and_a_private_file(tmp_path: Path) -> None:
    out = await opened(tmp_path)
    for piece in (b"on", b"e\ntw", b"o\nthree"):
        out.data_received(piece)
    assert out.last(5) == ["one", "two"]
    assert out.last(1) == ["two"]
    assert out.last(0) == []
    assert out.file.read_text() == "one\ntwo\n"
    assert out.file.stat().st_mode & 0o777 == 0o600
    out.close()


async def test_what_a_process_writes_arrives(tmp_path: Path) -> None:
    import asyncio

    arrived = asyncio.Event()

    class Told(Output):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            arrived.set()

    out = Told(tmp_path / "web.log")
    await out.open()
    os.write(out.fd, b"hello\n")
    await arrived.wait()
    assert out.last(1) == ["hello"]
    out.close()
    out.close()


async def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    out = await opened(tmp_path)
    for _ in range(5):
        out.data_received(b"x" * output.LINE_BYTES)
    assert all(len(line) <= output.LINE_BYTES for line in out.tail)
    out.data_received(b"\nnext\n")
    assert out.last(1) == ["next"]
    out.close()


async def test_the_file_starts_over_when_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "FILE_BYTES", 20)
    out = await opened(tmp_path)
    for number in range(100):
        out.data_received(b"line %d\n" % number)
    assert sorted(path.name for path in out.file.parent.iterdir()) == ["web.log", "web.log.1"]
    assert all(path.stat().st_size <= 32 for path in out.file.parent.iterdir())
    assert out.file.read_text().endswith("line 99\n")
    out.close()


async def test_text_that_is_no_utf8_is_kept_readable(tmp_path: Path) -> None:
    out = await opened(tmp_path)
    out.data_received(b"caf\xe9\n")
    out.note("ended")
    assert out.last(2) == ["caf\ufffd", "lapdev: ended"]
    out.close()
    out.note("nobody reads this file any more")


async def test_a_full_disk_costs_lines_in_the_file_and_nothing_else(tmp_path: Path) -> None:
    out = await opened(tmp_path)
    os.close(out._stream)
    out._stream = os.open("/dev/full", os.O_WRONLY)
    out.data_received(b"one\ntwo\n")
    out.note("ended")
    assert out.last(5) == ["one", "two", "lapdev: ended"]
    out.close()
