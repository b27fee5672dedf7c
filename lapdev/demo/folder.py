"""The demo's temporary folder: held while it runs, removed by a later demo if it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "lapdev-demo-"
KEPT_PREFIX = "lapdev-kept-demo-"
"""Of folders that are to stay: no later demo looks at them."""

LOCK = "held"
SETTLED_SECONDS = 60.0
"""A younger folder may belong to a demo that has not taken its lock yet."""


class DemoFolder:
    """A folder of this process, private to its user."""

    def __init__(self, *, keep: bool) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=KEPT_PREFIX if keep else PREFIX))
        self._keep = keep
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def release(self) -> None:
        """Nothing is left, unless it is to stay. Idempotent."""
        if self._lock < 0:
            return
        if not self._keep:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def remove_abandoned(parent: Path, now: float | None = None) -> list[Path]:
    """The folders in `parent` that killed demos of this user left, which are gone now."""
    now = time.time() if now is None else now
    removed = []
    for folder in parent.glob(PREFIX + "*"):
        try:
            if (
                folder.stat().st_uid != os.getuid()
                or now - folder.stat().st_mtime < SETTLED_SECONDS
            ):
                continue
            lock = os.open(folder / LOCK, os.O_RDWR)
        except OSError:
            continue  # gone meanwhile, or not a demo's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its demo is running
        else:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
        finally:
            os.close(lock)
    return removed
