"""Files that change are noticed when whoever writes has finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.client.watching import Watcher


def rewrite(path: Path) -> None:
    path.write_text(path.read_text() + "more\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {}\n")
    return path


def test_what_stays_is_no_change(file: Path) -> None:
    assert not Watcher([str(file)]).changed()


def test_a_change_is_one_once(file: Path) -> None:
    watcher = Watcher([str(file)])
    rewrite(file)
    assert watcher.changed()
    watcher.settle(lambda _: None)
    assert not watcher.changed()


def test_a_file_that_goes_or_comes_is_a_change(file: Path) -> None:
    watcher = Watcher([str(file)])
    file.unlink()
    assert watcher.changed()
    watcher.settle(lambda _: None)
    file.write_text("services: {}\n")
    assert watcher.changed()


def test_an_editor_that_replaces_the_file_is_a_change(file: Path, tmp_path: Path) -> None:
    watcher = Watcher([str(file)])
    (tmp_path / "new").write_text(file.read_text())
    (tmp_path / "new").replace(file)
    assert watcher.changed()


def test_waiting_ends_when_nothing_is_written_any_more(file: Path) -> None:
    watcher = Watcher([str(file)])
    steps = [lambda: None, lambda: rewrite(file), lambda: rewrite(file), lambda: None]

    def pause(_: float) -> None:
        steps.pop(0)()

    watcher.wait_changed(pause)
    assert steps == []
    assert not watcher.changed()


def test_a_change_before_the_next_files_are_named_still_counts(file: Path, tmp_path: Path) -> None:
    watcher = Watcher([str(file)])
    rewrite(file)
    other = tmp_path / "other.yaml"
    other.touch()
    watcher.watch([str(file), str(other)])
    assert watcher.changed()
    watcher.watch([str(other)])
    assert not watcher.changed()
