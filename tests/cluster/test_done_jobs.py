"""Done Jobs outlive the process that ran them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from lapdev import log
from lapdev.cluster.controllers import DoneJob
from lapdev.cluster.done_jobs import FILE, DoneJobs

DONE = DoneJob("d1", 2, (0, 1))


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("test", "info", stream)
    yield stream
    log.configure("test")


def test_the_next_process_knows_what_was_done(tmp_path: Path) -> None:
    first = DoneJobs(tmp_path / "shop")
    assert first.get("migrate") is None
    first.note("migrate", DONE)
    first.note("seed", DoneJob("d2", 1))
    second = DoneJobs(tmp_path / "shop")
    assert second.get("migrate") == DONE
    second.keep(["migrate", "never"])
    third = DoneJobs(tmp_path / "shop")
    assert (third.get("migrate"), third.get("seed")) == (DONE, None)
    assert [file.name for file in (tmp_path / "shop").iterdir()] == [FILE]


def test_nothing_is_written_where_nothing_is_done(tmp_path: Path) -> None:
    DoneJobs(tmp_path / "shop").keep(["web"])
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"migrate": 1}', '{"migrate": {"digest": 1}}'])
def test_a_file_that_cannot_be_read_says_nothing(
    tmp_path: Path, text: str, logged: io.StringIO
) -> None:
    (tmp_path / FILE).write_text(text)
    done = DoneJobs(tmp_path)
    assert done.get("migrate") is None
    assert "done_jobs_not_read" in logged.getvalue()
    done.note("migrate", DONE)
    assert DoneJobs(tmp_path).get("migrate") == DONE


def test_a_disk_that_takes_nothing_stops_no_job(tmp_path: Path, logged: io.StringIO) -> None:
    (tmp_path / "shop").write_text("in the way")
    done = DoneJobs(tmp_path / "shop" / "below")
    done.note("migrate", DONE)
    assert done.get("migrate") == DONE
    assert "done_jobs_not_kept" in logged.getvalue()
