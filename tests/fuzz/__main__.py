"""Fuzzing without an end in sight: `python -m tests.fuzz --minutes 30` (or `make fuzz ARGS=…`).

A third of the time each goes to mutated messages, to two ends against each other, and to the same
over real sockets that break. The seed is printed first; a finding prints its own and ends the run
with status 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from tests.fuzz import sockets
from tests.fuzz.frames import FrameFuzz
from tests.fuzz.two_ends import run

SLICE = 5.0
"""Seconds one kind of fuzzing runs before it is another's turn."""


class Lossy(Protocol):
    losses: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--sessions", type=int, help="only that many sessions, from --seed on")
    parser.add_argument("--sockets", action="store_true", help="those over real sockets")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    if arguments.sessions:
        kind = sockets.run if arguments.sockets else run
        return _guarded(lambda: _sessions(kind, arguments.seed, arguments.sessions))
    return _guarded(lambda: _for_minutes(arguments.seed, arguments.minutes))


def _guarded(work: Callable[[], str]) -> int:
    try:
        print("no finding:", work())
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


def _sessions(kind: Callable[[int], Lossy], seed: int, count: int) -> str:
    losses = sum(kind(number).losses for number in range(seed, seed + count))
    return f"{count} sessions, {losses} losses"


def _for_minutes(seed: int, minutes: float) -> str:
    end = time.monotonic() + minutes * 60
    sessions = losses = moves = real = cuts = 0
    frames = FrameFuzz(seed)
    while time.monotonic() < end:
        until = min(time.monotonic() + SLICE, end)
        while time.monotonic() < until:
            session = run(seed + sessions)
            sessions, losses = sessions + 1, losses + session.losses
            moves += session.moves
        until = min(time.monotonic() + SLICE, end)
        while time.monotonic() < until:
            frames.step()
        until = min(time.monotonic() + SLICE, end)
        while time.monotonic() < until:
            cuts += sockets.run(seed + real).losses
            real += 1
    return (
        f"{sessions} sessions with {losses} losses and {moves} moves; {frames.inputs} messages, "
        f"{len(frames.outcomes)} outcomes; {real} sessions over sockets with {cuts} cuts"
    )


if __name__ == "__main__":
    sys.exit(main())
