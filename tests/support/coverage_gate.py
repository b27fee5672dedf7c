"""Each pure room is covered to 90 % of its lines, or the build fails.

python -m tests.support.coverage_gate coverage.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PURE_ROOMS = (
    "lapdev/errors.py",
    "lapdev/model.py",
    "lapdev/wire/",
    "lapdev/routing/",
    "lapdev/cluster/manifests",
    "lapdev/cluster/compose",
    "lapdev/manager/plan.py",
    "lapdev/devbox/hosts.py",
)
LEAST_PERCENT = 90.0


def room_percentages(report: Mapping[str, Any]) -> dict[str, float]:
    """Room to the share of its lines that ran; a room without a file has 0."""
    result = {}
    for room in PURE_ROOMS:
        summaries = [
            entry["summary"] for path, entry in report["files"].items() if path.startswith(room)
        ]
        lines = sum(summary["num_statements"] for summary in summaries)
        covered = sum(summary["covered_lines"] for summary in summaries)
        result[room] = 100.0 * covered / lines if lines else 0.0
    return result


def main(argv: list[str]) -> int:
    """Prints a line per room; 1 when one is below the bar."""
    rooms = room_percentages(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    for room, percent in rooms.items():
        note = "" if percent >= LEAST_PERCENT else f"  BELOW {LEAST_PERCENT:.0f} %"
        print(f"coverage {room:28} {percent:5.1f} %{note}")
    return 0 if all(percent >= LEAST_PERCENT for percent in rooms.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
