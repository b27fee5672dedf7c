"""What a running `devbox connect` leaves for other commands to read, and who may write it.

Three files in the state directory: `device` (this machine's id), `devbox.lock` (held by the
process that is connected: that it is held proves the process lives, a number alone would not) and
`devbox.json` (replaced whole on each change, removed at the end). None of them holds a secret.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lapdev.account import device_id
from lapdev.devbox.session import Device
from lapdev.errors import ConfigError, Conflict
from lapdev.model import DeviceId


@dataclass(frozen=True, slots=True)
class DevboxStatus:
    """What `devbox status` and `devbox services` show."""

    pid: int
    device: str
    server: str
    proxy: str
    """`host:port` that speaks HTTP proxy and SOCKS5."""
    environment: str = ""
    namespace: str = ""
    connected: bool = False
    error: str = ""
    services: list[dict[str, Any]] = field(default_factory=list)
    intercepts: list[dict[str, Any]] = field(default_factory=list)


def this_device(directory: Path) -> Device:
    """This machine's id, made on first use, and its name."""
    return Device(DeviceId(device_id(directory)), socket.gethostname())


class StateFile:
    """Held while this process is the connected one."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "devbox.json"
        self._lock_path = directory / "devbox.lock"
        self._lock_fd = -1

    def acquire(self) -> None:
        """This process is the connected one.

        Raises:
            Conflict: another one is; names it.
        """
        _make_private(self.path.parent)
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            running = self.read()
            who = f" (process {running.pid})" if running else ""
            raise Conflict(
                f"this machine is already connected{who}",
                hint="use it, or end it with `lapdev devbox disconnect`",
            ) from exc
        self._lock_fd = fd

    def write(self, status: DevboxStatus) -> None:
        """Readers see `status`, whole."""
        assert self._lock_fd >= 0
        _replace(self.path, json.dumps(asdict(status)) + "\n")

    def release(self) -> None:
        """Nothing is left but the device's id. Idempotent."""
        if self._lock_fd < 0:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._lock_fd = -1

    def read(self) -> DevboxStatus | None:
        """The status of the connected process; None when there is none, or it died."""
        if self._lock_fd < 0 and not self._is_locked():
            return None
        try:
            return DevboxStatus(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None  # it has the lock but has not written yet, or is another version

    def _is_locked(self) -> bool:
        try:
            fd = os.open(self._lock_path, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def _replace(path: Path, text: str) -> None:
    _make_private(path.parent)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"cannot make {directory}: {exc.strerror}", hint="set --state-dir or XDG_STATE_HOME"
        ) from exc
