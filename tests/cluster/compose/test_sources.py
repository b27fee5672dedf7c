"""Files as the conversion sees them."""

from __future__ import annotations

import pytest

from lapdev.cluster.compose.sources import Reader, folder_of, short_name
from lapdev.errors import ConfigError
from tests.cluster.compose.projects import FOLDER, MemoryFiles


def test_a_reader_remembers_what_it_read() -> None:
    reader = Reader(MemoryFiles({"a": "A=1", "b": b"\xff"}))
    path = reader.join(FOLDER, "./x/../a")
    assert path == f"{FOLDER}/a"
    assert reader.variables(path, {}.get) == {"A": "1"}
    assert reader.content(reader.join(FOLDER, "b")) == b"\xff"
    assert reader.exists(f"{FOLDER}/a")
    assert not reader.exists(f"{FOLDER}/c")
    assert reader.read == (f"{FOLDER}/a", f"{FOLDER}/b")


def test_paths_may_be_absolute_or_begin_at_home() -> None:
    reader = Reader(MemoryFiles({}))
    assert reader.join(FOLDER, "/etc/x") == "/etc/x"
    assert reader.join(FOLDER, "~/x") == "/home/you/x"


def test_a_mistake_in_a_file_is_told_by_folder_and_name() -> None:
    reader = Reader(MemoryFiles({".env": "="}))
    with pytest.raises(ConfigError, match=r"^shop/\.env:1: "):
        reader.variables(f"{FOLDER}/.env", {}.get)
    assert (short_name("/x"), folder_of("/a/b")) == ("x", "/a")
