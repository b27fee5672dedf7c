from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lapdev.embedded.files import (
    DataDir,
    make_private_dir,
    make_runtime_dir,
    write_private,
)
from lapdev.errors import ConfigError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_data_directory_is_private_and_has_tokens(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "a" / "lapdev")
    data.open()
    data.close()
    assert mode(data.path) == 0o700
    for file in (data.cluster_token_file, data.bootstrap_token_file):
        assert mode(file) == 0o600
        assert len(file.read_text().strip()) >= 40
    assert data.cluster_token_file.read_text() != data.bootstrap_token_file.read_text()


def test_directories_on_the_way_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_dir(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert {mode(path) for path in tmp_path.rglob("*")} == {0o700}


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    with pytest.raises(ConfigError, match="can be changed by other users"):
        DataDir(loose).open()
    with pytest.raises(ConfigError, match="can be changed by other users"):
        make_runtime_dir(str(loose), {})
    loose.chmod(0o755)
    make_private_dir(loose)


def test_tokens_are_made_once(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        data = DataDir(tmp_path / "lapdev")
        data.open()
        tokens.append(data.bootstrap_token_file.read_text())
        data.close()
    assert tokens[0] == tokens[1]


def test_a_data_directory_has_one_user_at_a_time(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path / "lapdev"), DataDir(tmp_path / "lapdev")
    first.open()
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        second.open()
    first.close()
    first.close()
    second.open()
    second.close()


def test_what_a_killed_process_held_is_free_and_what_it_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from lapdev.embedded.files import *;"
        "data = DataDir(Path(sys.argv[1])); data.open();"
        "print(make_runtime_dir('', {'XDG_RUNTIME_DIR': sys.argv[2]}).path, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "data"), str(tmp_path)]
    killed = subprocess.run(argv, check=False, stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -9
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    data = DataDir(tmp_path / "data")
    data.open()
    data.close()
    make_runtime_dir("", {"XDG_RUNTIME_DIR": str(tmp_path)}).close()
    assert not left.exists()


def test_a_runtime_directory_in_use_or_not_ours_is_left_alone(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    data = DataDir(tmp_path / "lapdev-data")
    data.open()
    data.close()
    first, second = make_runtime_dir("", environ), make_runtime_dir("", environ)
    assert first.path.is_dir()
    for made in (first, second):
        made.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lapdev-data"]
    assert data.bootstrap_token_file.exists()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        DataDir(tmp_path / "file" / "lapdev").open()
    assert "Not a directory" in caught.value.detail
    assert "--data-dir" in caught.value.hint


def test_the_client_file_names_server_and_token_file(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "lapdev")
    data.open()
    data.write_client_file("http://127.0.0.1:1")
    data.close()
    assert mode(data.client_file) == 0o600
    client = json.loads(data.client_file.read_text())
    assert client == {
        "server": "http://127.0.0.1:1",
        "token_file": str(data.bootstrap_token_file),
    }
    assert data.bootstrap_token_file.read_text().strip() not in data.client_file.read_text()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


# The runtime directory


def test_a_runtime_directory_is_private_and_below_xdg(tmp_path: Path) -> None:
    made = make_runtime_dir("", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert made.path.parent == tmp_path
    assert mode(made.path) == 0o700
    made.close()
    assert not made.path.exists()


@pytest.mark.parametrize("xdg", ["", "/does/not/exist", "/tmp/" + "x" * 90])
def test_without_a_usable_xdg_directory_it_is_below_tmp(xdg: str) -> None:
    made = make_runtime_dir("", {"XDG_RUNTIME_DIR": xdg})
    made.close()
    assert made.path.parent == Path("/tmp")


def test_a_wanted_directory_is_made_and_one_that_exists_is_kept() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own paths can be too long
        wanted = Path(folder) / "r"
        first, second = make_runtime_dir(str(wanted), {}), make_runtime_dir(str(wanted), {})
        second.close()
        assert wanted.is_dir()
        first.close()
        assert not wanted.exists()


def test_a_wanted_directory_whose_sockets_would_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigError, match="exceed 107 bytes"):
        make_runtime_dir("/tmp/" + "x" * 90, {})
