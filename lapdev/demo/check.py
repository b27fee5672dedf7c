"""`lapdev demo --check`: every promise of the demo tried from outside, one after the other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from lapdev.demo.checks import faults, intercepts, interleaving, previews, streaming
from lapdev.demo.checks.scene import Scene
from lapdev.demo.stage import Stage
from lapdev.errors import LapdevError

Print = Callable[[str], None]

CLEAN_UP_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    run: Callable[[Scene], Awaitable[str]]
    """Returns what it saw, in a few words; raises CheckFailedError or anything else."""
    timeout: float


CHECKS = (
    Check("previews answer", previews.check_previews, 30),
    Check("one connection, three previews", interleaving.check_one_connection, 30),
    Check("1,000 interleaved requests", interleaving.check_thousand, 90),
    Check("websocket", streaming.check_websocket, 30),
    Check("server-sent events", streaming.check_events, 30),
    Check("32 MiB up", streaming.check_upload, 60),
    Check("32 MiB down", streaming.check_download, 60),
    Check("intercept on the base", intercepts.check_base, 60),
    Check("intercept on a branch", intercepts.check_branch, 60),
    Check("local program gone", intercepts.check_program_gone, 60),
    Check("laptop gone", intercepts.check_laptop_gone, 60),
    Check("sidecar killed", faults.check_sidecar_killed, 60),
    Check("cloud killed", faults.check_cloud_killed, 60),
    Check("manager killed", faults.check_manager_killed, 90),
    Check("all previews still right", previews.check_previews, 30),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    passed: bool
    seconds: float
    detail: str


async def run_checks(stage: Stage, show: Print, *, as_json: bool = False) -> int:
    """The exit code: 0 when every check passed. A failed check does not stop the others."""
    if not as_json:
        show(row("check", "result", "time", "detail"))
    failures = 0
    async with Scene(stage) as scene:
        for check in CHECKS:
            outcome = await _run_one(check, scene)
            failures += not outcome.passed
            show(_as_json(outcome) if as_json else _as_row(outcome))
    if as_json:
        show(json.dumps({"event": "checked", "checks": len(CHECKS), "failed": failures}))
    else:
        show(f"\n{len(CHECKS) - failures} of {len(CHECKS)} passed")
    return 1 if failures else 0


async def _run_one(check: Check, scene: Scene) -> Outcome:
    started = time.monotonic()
    passed, detail = await _attempt(check.run(scene), check.timeout)
    tidy, problem = await _attempt(scene.clean_up(), CLEAN_UP_TIMEOUT)
    if passed and not tidy:
        passed, detail = False, f"afterwards: {problem}"
    return Outcome(check.name, passed, time.monotonic() - started, " ".join(detail.split())[:160])


async def _attempt(work: Awaitable[str | None], timeout: float) -> tuple[bool, str]:
    """Whether it succeeded, and what it says or what went wrong."""
    try:
        async with asyncio.timeout(timeout):
            return True, await work or ""
    except TimeoutError:
        return False, f"not done after {timeout:.0f} seconds"
    except LapdevError as exc:
        return False, exc.detail
    except Exception as exc:  # a client library's own error is a failed check, not a crash
        return False, f"{type(exc).__name__}: {exc}"


def _as_json(outcome: Outcome) -> str:
    return json.dumps({"event": "check", **asdict(outcome)})


def _as_row(outcome: Outcome) -> str:
    result = "ok" if outcome.passed else "FAILED"
    return row(outcome.name, result, f"{outcome.seconds:.1f} s", outcome.detail)


def row(name: str, result: str, seconds: str, detail: str) -> str:
    """One line of the table."""
    return f"{name:<32} {result:<7} {seconds:>7}  {detail}".rstrip()
