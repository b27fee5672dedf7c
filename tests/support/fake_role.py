"""Stands in for `python -m lapdev serve --role …`: what a supervisor sees of a role, and no more.

    fake_role.py DIARY BEHAVIOUR -m lapdev serve --role ROLE FLAGS… --ready-fd N

DIARY, a file, gets a line for each thing that happens. BEHAVIOUR is one of

    serve       says ready, ends at SIGTERM
    stubborn    says ready, ignores SIGTERM
    exit        ends with code 3 at once
    silent      never says ready, ends at SIGTERM
    unfit       says ready, but to take over it ends with code 4
    slow        says ready, but to take over never

Who takes over ends the one before, as soon as it has said ready.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from lapdev.serve import die_with_parent


def interpreter(folder: Path, behaviour: str = "serve") -> str:
    """An executable to give a supervisor as its Python; the diary is `folder/diary`."""
    script = folder / f"python-{behaviour}"
    command = f'"{sys.executable}" "{__file__}" "{folder / "diary"}" {behaviour} "$@"'
    script.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{Path.cwd()}" {command}\n')
    script.chmod(0o700)
    return str(script)


def main() -> None:
    die_with_parent(os.environ)
    diary, behaviour, *argv = sys.argv[1:]
    role = argv[argv.index("--role") + 1]

    def note(what: str) -> None:
        with Path(diary).open("a") as file:
            file.write(f"{role} {what}\n")

    def stop(_number: int, _frame: FrameType | None) -> None:
        note("stopped")
        sys.exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else stop)
    note("started " + " ".join(argv))
    taking_over, last = "--take-over" in argv, Path(f"{diary}-{role}-pid")
    if behaviour == "exit":
        sys.exit(3)
    if behaviour == "unfit" and taking_over:
        sys.exit(4)
    if behaviour != "silent" and not (behaviour == "slow" and taking_over):
        os.write(int(argv[argv.index("--ready-fd") + 1]), b"ready\n")
        if taking_over:
            os.kill(int(last.read_text()), signal.SIGTERM)
        last.write_text(str(os.getpid()))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
