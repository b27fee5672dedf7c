from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev.account import state_dir
from lapdev.devbox.state_file import DevboxStatus, StateFile, this_device
from lapdev.errors import ConfigError, Conflict

STATUS = DevboxStatus(os.getpid(), "dev", "http://s", "127.0.0.1:1", "shop", connected=True)


def test_what_is_written_is_read_by_others_while_the_writer_lives(tmp_path: Path) -> None:
    writer, reader = StateFile(tmp_path), StateFile(tmp_path)
    writer.acquire()
    assert reader.read() is None
    writer.write(STATUS)
    assert reader.read() == STATUS
    writer.release()
    assert reader.read() is None
    assert not writer.path.exists()
    writer.release()


DIES_CONNECTED = """
import os, sys
from pathlib import Path
from lapdev.devbox.state_file import DevboxStatus, StateFile
file = StateFile(Path(sys.argv[1]))
file.acquire()
file.write(DevboxStatus(os.getpid(), "dev", "http://s", "127.0.0.1:1"))
os._exit(9)
"""


def test_what_a_killed_process_left_is_not_believed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", DIES_CONNECTED, str(tmp_path)]
    assert subprocess.run(words, timeout=30, check=False).returncode == 9
    file = StateFile(tmp_path)
    assert file.path.exists()
    assert file.read() is None
    file.acquire()
    file.release()


def test_a_second_connection_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    first, second = StateFile(tmp_path), StateFile(tmp_path)
    first.acquire()
    first.write(STATUS)
    with pytest.raises(Conflict, match=f"already connected .process {os.getpid()}"):
        second.acquire()
    first.release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"other": 1}'])
def test_a_file_of_another_version_reads_as_nothing(tmp_path: Path, text: str) -> None:
    file = StateFile(tmp_path)
    file.acquire()
    file.path.write_text(text)
    assert StateFile(tmp_path).read() is None
    file.release()


def test_the_directory_and_what_is_in_it_are_private(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a" / "lapdev")
    file.acquire()
    file.write(STATUS)
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert json.loads(file.path.read_text())["proxy"] == "127.0.0.1:1"
    file.release()


def test_the_directory_is_the_configured_one_else_below_xdg_state_home() -> None:
    assert state_dir({}, "/x") == Path("/x")
    assert state_dir({"XDG_STATE_HOME": "/s"}) == Path("/s/lapdev")
    assert state_dir({}) == Path.home() / ".local" / "state" / "lapdev"


def test_a_device_keeps_its_id(tmp_path: Path) -> None:
    first = this_device(tmp_path)
    assert len(first.id) == 16
    assert first.id.isalnum()
    assert this_device(tmp_path) == first
    assert this_device(tmp_path / "other").id != first.id


def test_an_unreadable_device_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    with pytest.raises(ConfigError, match="device"):
        this_device(tmp_path)
