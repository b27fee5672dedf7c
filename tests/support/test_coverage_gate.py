from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import coverage_gate
from tests.support.coverage_gate import PURE_ROOMS, room_percentages


def report(covered: int, missing: str = "") -> dict[str, Any]:
    """Two files of ten lines each per room; `missing`: a room without files."""
    summary = {"num_statements": 10, "covered_lines": covered}
    files = {}
    for room in PURE_ROOMS:
        if room != missing:
            files[room if room.endswith(".py") else f"{room.rstrip('/')}/a.py"] = summary
    return {"files": {path: {"summary": summary} for path in files}}


@pytest.mark.parametrize(("covered", "code"), [(10, 0), (9, 0), (8, 1)])
def test_a_room_below_the_bar_fails(tmp_path: Path, covered: int, code: int) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(covered)))
    assert coverage_gate.main([str(path)]) == code


def test_a_room_that_was_not_measured_fails(tmp_path: Path) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(10, "lapdev/routing/")))
    assert coverage_gate.main([str(path)]) == 1


def test_a_rooms_files_count_together() -> None:
    summaries = {"lapdev/wire/a.py": (30, 30), "lapdev/wire/mux/b.py": (10, 0)}
    files = {
        path: {"summary": {"num_statements": lines, "covered_lines": covered}}
        for path, (lines, covered) in summaries.items()
    }
    assert room_percentages({"files": files})["lapdev/wire/"] == 75.0
