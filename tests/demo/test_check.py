from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from lapdev.demo import check
from lapdev.demo.check import CHECKS, Check, row, run_checks
from lapdev.demo.checks.scene import Scene, require
from lapdev.demo.stage import Stage, StageOptions


async def passes(_: Scene) -> str:
    return "all is\nwell"


async def fails(_: Scene) -> str:
    require(False, "shop answered v2")
    return "never"


async def breaks(_: Scene) -> str:
    raise KeyError("hops")


async def hangs(_: Scene) -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage that was never set up: these checks do not look at it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Stage(StageOptions("127.0.0.1:0"))


async def outcome(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *checks: Check
) -> tuple[int, list[str]]:
    monkeypatch.setattr(check, "CHECKS", checks)
    lines: list[str] = []
    return await run_checks(stage, lines.append), lines


async def test_when_every_check_passes_the_exit_code_is_0(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, lines = await outcome(stage, monkeypatch, Check("one", passes, 5))
    assert code == 0
    assert lines[1].split() == ["one", "ok", "0.0", "s", "all", "is", "well"]
    assert lines[-1].strip() == "1 of 1 passed"


@pytest.mark.parametrize(
    ("run", "detail"),
    [
        (fails, "shop answered v2"),
        (breaks, "KeyError: 'hops'"),
        (hangs, "not done after 0 seconds"),
    ],
)
async def test_a_failed_check_is_told_and_the_others_still_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, run: object, detail: str
) -> None:
    checks = (Check("bad", run, 0.01), Check("good", passes, 5))  # type: ignore[arg-type]
    code, lines = await outcome(stage, monkeypatch, *checks)
    assert code == 1
    assert "FAILED" in lines[1]
    assert lines[1].endswith(detail)
    assert " ok " in lines[2]
    assert lines[-1].strip() == "1 of 2 passed"


async def test_for_programs_each_outcome_is_a_line_of_json(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "CHECKS", (Check("one", passes, 5), Check("two", fails, 5)))
    lines: list[str] = []
    assert await run_checks(stage, lines.append, as_json=True) == 1
    first, second, last = map(json.loads, lines)
    assert (first["event"], first["name"], first["passed"]) == ("check", "one", True)
    assert (second["passed"], second["detail"]) == (False, "shop answered v2")
    assert last == {"event": "checked", "checks": 2, "failed": 1}


def test_every_check_has_a_name_of_its_own_and_a_deadline() -> None:
    assert len({item.name for item in CHECKS}) == len(CHECKS)
    assert all(0 < item.timeout <= 120 for item in CHECKS)


def test_the_columns_stand_under_each_other() -> None:
    head = row("check", "result", "time", "detail")
    line = row("a", "FAILED", "0.1 s", "why")
    assert head.index("detail") == line.index("why")
