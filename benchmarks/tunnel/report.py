"""Figures of many rounds: kept by case and contestant, shown as medians with spread and ratio."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.tunnel.contestants import CONTESTANTS, OURS, PLAIN

DIRECT = "direct"


@dataclass(slots=True)
class Report:
    about: dict[str, Any]
    """What was measured where: versions, machine, command."""
    cases: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    """Case → contestant → metric → one value a round."""
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, contestant: str, metrics: dict[str, float]) -> None:
        values = self.cases.setdefault(case, {}).setdefault(contestant, defaultdict(list))
        for name, value in metrics.items():
            values[name].append(value)

    def median(self, case: str, contestant: str, metric: str) -> float | None:
        values = self.cases.get(case, {}).get(contestant, {}).get(metric)
        return statistics.median(values) if values else None

    def fail(self, case: str, contestant: str, why: object) -> None:
        self.failures.append(f"{case}, {contestant}: {' '.join(str(why).split())[-300:]}")

    def save(self, file: Path) -> None:
        content = {"about": self.about, "cases": self.cases, "failures": self.failures}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def table(self) -> str:
        """Markdown. The ratio is the contestant's median over ours of its class."""
        lines = []
        for case, contestants in self.cases.items():
            metrics = list(dict.fromkeys(name for one in contestants.values() for name in one))
            lines += ["", f"**{case}**", ""]
            lines.append("| | " + " | ".join(f"{name} | ratio" for name in metrics) + " |")
            lines.append("|---|" + "---|" * (2 * len(metrics)))
            for contestant, values in contestants.items():
                ours = contestants.get(_ours(contestant), {})
                cells = [
                    f"{_shown(values.get(name, []))} | {_ratio(values, ours, name)}"
                    for name in metrics
                ]
                lines.append(f"| {contestant} | " + " | ".join(cells) + " |")
        if self.failures:
            lines += ["", "Not counted:", *(f"- {failure}" for failure in self.failures)]
        return "\n".join(lines)


def _ours(contestant: str) -> str:
    kinds = {one.name: one.kind for one in CONTESTANTS}
    return OURS[kinds.get(contestant, PLAIN)]


def _shown(values: list[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(statistics.median(values))} ({_number(min(values))} - {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(values: dict[str, list[float]], ours: dict[str, list[float]], name: str) -> str:
    if not values.get(name) or not ours.get(name):
        return ""
    return f"{statistics.median(values[name]) / statistics.median(ours[name]):.2f}"
