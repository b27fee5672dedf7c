"""Files made of what the cluster knows. How volumes use them is in `test_volumes`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.cluster.manifests import ConfigFiles, ConfigObject, PodFacts, Projected
from lapdev.cluster.volume_files import File, is_secret, projected_files, write_files

FACTS = PodFacts("web-x", "shop", "198.18.0.2")
CONFIGS = {
    ("ConfigMap", "a"): ConfigObject("ConfigMap", "a", {"x": b"1", "y": b"2"}),
    ("Secret", "b"): ConfigObject("Secret", "b", {"x": b"3"}),
}


def test_the_later_source_wins() -> None:
    volume = Projected((ConfigFiles("ConfigMap", "a"), ConfigFiles("Secret", "b")), mode=0o600)
    assert projected_files("here", volume, FACTS, CONFIGS) == {
        "x": File(b"3", 0o600),
        "y": File(b"2", 0o600),
    }
    assert is_secret(volume)
    assert not is_secret(Projected((ConfigFiles("ConfigMap", "a"),)))


def test_files_appear_all_at_once_and_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    write_files(folder, {"a/b": File(b"1", 0o400)}, secret=False)
    write_files(folder, {"c": File(b"2", 0o755)}, secret=True)
    assert [path.name for path in folder.iterdir()] == ["c"]
    assert (folder / "c").stat().st_mode & 0o777 == 0o755
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in tmp_path.iterdir()} == {"v", "v.digest"}


def test_a_write_that_failed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    files = {"x": File(b"1", 0o644), "x/y": File(b"2", 0o644)}
    for _ in range(2):
        with pytest.raises(OSError, match="x"):
            write_files(folder, files, secret=False)
    write_files(folder, {"x": File(b"1", 0o644)}, secret=False)
    assert (folder / "x").read_bytes() == b"1"


def test_a_changed_mode_is_a_change(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    for mode in (0o644, 0o600):
        write_files(folder, {"x": File(b"1", mode)}, secret=False)
        assert (folder / "x").stat().st_mode & 0o777 == mode
