"""What the embedded mode keeps on disk: the data directory (stays) and the runtime directory.

Both are private to their user (0700). The data directory belongs to one supervisor at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lapdev.errors import ConfigError
from lapdev.net.address import UNIX_PATH_BYTES

RUNTIME_LOCK = "runtime-lock"
"""Only what holds it is taken for a runtime directory, whatever others are called."""
LONGEST_SOCKET = "manager-admin.sock"


class DataDir:
    """Database, tokens and the CLI's client file, locked while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cluster_token_file = path / "cluster-token"
        self.bootstrap_token_file = path / "bootstrap-token"
        self.client_file = path / "client.json"
        self._lock_fd = -1

    def open(self) -> None:
        """The directory exists, is locked by this process, and has its tokens.

        Raises:
            ConfigError: another supervisor uses it, or it cannot be written.
        """
        try:
            make_private_dir(self.path)
            self._lock()
            for path in (self.cluster_token_file, self.bootstrap_token_file):
                if not path.exists():
                    write_private(path, secrets.token_urlsafe(32) + "\n")
        except OSError as exc:
            self.close()
            raise ConfigError(
                f"data directory {self.path}: {exc.strerror}", hint="choose another --data-dir"
            ) from exc

    def _lock(self) -> None:
        self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = self._holder()
            self.close()
            raise ConfigError(
                f"data directory {self.path} is in use by process {holder}",
                hint="stop it, or choose another --data-dir",
            ) from exc

        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, json.dumps({"pid": os.getpid()}).encode(), 0)

    def _holder(self) -> str:
        """The process that the lock file names."""
        try:
            return str(json.loads(os.pread(self._lock_fd, 4096, 0))["pid"])
        except (ValueError, KeyError, TypeError):  # made, and not yet written to
            return "unknown"

    def write_client_file(self, server: str, ca_file: str = "") -> None:
        """The CLI finds this supervisor, and the token it takes, without being told."""
        client = {"server": server, "token_file": str(self.bootstrap_token_file)}
        if ca_file:
            client["ca_file"] = ca_file
        write_private(self.client_file, json.dumps(client) + "\n")

    def close(self) -> None:
        """The lock is free. Idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def make_private_dir(path: Path) -> None:
    """`path` is a directory of this user that nobody else can change; made with its parents, 0700.

    Raises:
        ConfigError: it exists, and others can put files of theirs there.
        OSError: it cannot be made.
    """
    if not path.parent.exists():
        make_private_dir(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigError(
            f"directory {path} can be changed by other users",
            hint=f"chmod go-w {path}" if found.st_uid == os.geteuid() else "choose one of your own",
        )


def write_private(path: Path, text: str) -> None:
    """`path` holds `text`, mode 0600; a crash leaves the old content or the new, never half."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


@dataclass(frozen=True, slots=True)
class RuntimeDir:
    """A private directory that is ours while we live."""

    path: Path
    remove: bool
    """It was not there before, and is to be gone afterwards."""
    _lock_fd: int = -1

    def close(self) -> None:
        if self.remove:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)


def make_runtime_dir(wanted: str, environ: Mapping[str, str]) -> RuntimeDir:
    """A directory whose socket paths fit. Those that killed supervisors left beside it are removed.

    Raises:
        ConfigError: the one asked for cannot be made, or its path is too long.
    """
    if wanted:
        path = Path(wanted)
        if not _fits(path):
            raise ConfigError(
                f"runtime directory {path}: socket paths in it would exceed "
                f"{UNIX_PATH_BYTES} bytes",
                hint="choose a shorter --runtime-dir",
            )
        try:
            created = not path.exists()
            make_private_dir(path)
        except OSError as exc:
            raise ConfigError(f"runtime directory {path}: {exc.strerror}") from exc
        return RuntimeDir(path, created)
    parent = environ.get("XDG_RUNTIME_DIR", "")
    if not (os.access(parent, os.W_OK) and _fits(Path(parent) / "lapdev-12345678")):
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a private, unpredictable directory
    _remove_left(Path(parent))
    path = Path(tempfile.mkdtemp(prefix="lapdev-", dir=parent))
    return RuntimeDir(path, True, _hold(path))


def _hold(path: Path) -> int:
    """The kernel's word that its owner lives; held before it has its name, so nobody is first."""
    draft = path / ".held"
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    draft.rename(path / RUNTIME_LOCK)
    return fd


def _remove_left(parent: Path) -> None:
    for lock in parent.glob(f"lapdev-*/{RUNTIME_LOCK}"):
        with contextlib.suppress(OSError):  # its owner lives, or it has just been removed
            # In /tmp anybody can make such a folder.
            if lock.parent.lstat().st_uid != os.geteuid():
                continue
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path / LONGEST_SOCKET)) <= UNIX_PATH_BYTES
