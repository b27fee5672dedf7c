"""A demo's folder goes with the demo, or with the next one."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from lapdev.demo.folder import DemoFolder, remove_abandoned


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


LATER = time.time() + 3600


def test_a_folder_is_private_and_goes_at_the_end(parent: Path) -> None:
    folder = DemoFolder(keep=False)
    assert folder.path.parent == parent
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.release()
    folder.release()
    assert not folder.path.exists()


def test_what_a_killed_demo_left_is_removed_and_what_is_held_is_not(parent: Path) -> None:
    held = DemoFolder(keep=False)
    abandoned = parent / "lapdev-demo-killed"
    abandoned.mkdir()
    (abandoned / "held").touch()
    assert remove_abandoned(parent, LATER) == [abandoned]
    assert held.path.exists()
    assert not abandoned.exists()
    held.release()


def test_a_kept_folder_stays(parent: Path) -> None:
    kept = DemoFolder(keep=True)
    kept.release()
    assert remove_abandoned(parent, LATER) == []
    assert kept.path.exists()


def test_a_young_folder_and_a_strangers_are_left_alone(parent: Path) -> None:
    young = parent / "lapdev-demo-young"
    young.mkdir()
    (young / "held").touch()
    assert remove_abandoned(parent) == []
    (parent / "lapdev-demo-not-ours").mkdir()  # no lock: whoever made it, no demo did
    young.joinpath("held").unlink()
    assert remove_abandoned(parent, LATER) == []
