"""`devbox connect --background`: the same command as a process of its own, in its own session.

It says `ready` through a descriptor once it is connected; what it logs goes to a file.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lapdev.devbox.state_file import StateFile
from lapdev.errors import NotReady

START_TIMEOUT = 15.0


def start_connect(flags: Sequence[str], directory: Path) -> int:
    """The exit code: 0 once the new process is connected, else its own; it told the reason.

    Its log is in `directory`, the state directory.

    Raises:
        NotReady: it was not connected in time, and has been ended.
    """
    log_file = directory / "devbox.log"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    reader, writer = os.pipe()
    try:
        process = _spawn(flags, log_file, writer)
    finally:
        os.close(writer)
    readable, _, _ = select.select([reader], [], [], START_TIMEOUT)
    said = os.read(reader, 16) if readable else b""
    os.close(reader)
    if said:
        return 0
    if not readable:
        found = StateFile(directory).read()
        process.terminate()
        process.wait()
        reason = f": {found.error}" if found and found.error else ""
        raise NotReady(
            f"not connected after {START_TIMEOUT:g} s{reason}",
            hint=f"check the server; {log_file} has more",
        )
    # The descriptor was closed unwritten: the process ends, and its last line says why.
    code = process.wait()
    sys.stderr.write(log_file.read_text(encoding="utf-8", errors="replace"))
    return code or 1


def _spawn(flags: Sequence[str], log_file: Path, ready_fd: int) -> subprocess.Popen[bytes]:
    with log_file.open("wb") as log:
        # -P: what lies in the working directory is never imported in place of our modules.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "lapdev", "devbox", "connect", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "LAPDEV_READY_FD": str(ready_fd)},
            pass_fds=(ready_fd,),
            start_new_session=True,
        )
