"""The files a Compose project is made of, seen through whoever may read them."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import Protocol

from lapdev.cluster.compose.env_files import read_env_file
from lapdev.cluster.compose.interpolation import Lookup


class Files(Protocol):
    """Reads for the conversion, which does no I/O itself. Paths are absolute except in `resolve`.

    Reading raises ConfigError, which names the file.
    """

    def read_text(self, path: str) -> str: ...

    def read_bytes(self, path: str) -> bytes: ...

    def exists(self, path: str) -> bool: ...

    def resolve(self, path: str) -> str:
        """The absolute path; a relative one starts at the current folder, `~` is the user's."""
        ...


class Reader:
    """Reads files, and remembers which."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read: dict[str, None] = {}

    @property
    def read(self) -> tuple[str, ...]:
        """Absolute paths, in the order of reading."""
        return tuple(self._read)

    def text(self, path: str) -> str:
        self._read[path] = None
        return self._files.read_text(path)

    def content(self, path: str) -> bytes:
        self._read[path] = None
        return self._files.read_bytes(path)

    def exists(self, path: str) -> bool:
        return self._files.exists(path)

    def join(self, folder: str, path: str) -> str:
        """The absolute path that `path` means in this folder."""
        if path.startswith("~"):
            return self._files.resolve(path)
        return posixpath.normpath(posixpath.join(folder, path))

    def variables(self, path: str, lookup: Lookup, *, raw: bool = False) -> dict[str, str]:
        """Of a file with variables, which must be there."""
        return read_env_file(self.text(path), short_name(path), lookup, raw=raw)


def folder_of(path: str) -> str:
    return str(PurePosixPath(path).parent)


def short_name(path: str) -> str:
    """What a complaint calls the file: its folder and name say enough."""
    return "/".join(PurePosixPath(path).parts[-2:]).lstrip("/")
