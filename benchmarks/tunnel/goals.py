"""The goals that the tunnel is built for, judged on a report's medians."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.tunnel.contestants import ENCRYPTED, OURS, PLAIN
from benchmarks.tunnel.report import DIRECT, Report

RIVALS = {ENCRYPTED: ("chisel", "frp"), PLAIN: ("frp no tls",)}
BULK, BESIDE = "bulk, 1 stream", "small beside bulk"
FAR = "path: 80 ms round trip, MTU 9000"


@dataclass(frozen=True, slots=True)
class Goal:
    """A contestant's median against a number, or against another's median times a factor."""

    case: str
    metric: str
    ours: str
    factor: float
    other: str = ""
    """Empty: `factor` is the number."""
    at_most: bool = False
    other_metric: str = ""

    def judge(self, report: Report) -> str | None:
        """A line; None where nothing was measured."""
        value = report.median(self.case, self.ours, self.metric)
        beside: float | None = 1.0
        if self.other or self.other_metric:
            metric = self.other_metric or self.metric
            beside = report.median(self.case, self.other or self.ours, metric)
        if value is None or not beside:
            return None
        reached = value / beside
        met = reached <= self.factor if self.at_most else reached >= self.factor
        than = f" x {self.other or self.other_metric}" if beside != 1.0 else ""
        sign = "<=" if self.at_most else ">="
        verdict = "met" if met else "NOT MET"
        return (
            f"- {verdict}: {self.case}, {self.ours}, {self.metric}:"
            f" {reached:.4g}{than} (goal {sign} {self.factor:g}{than})"
        )


def _goals() -> Iterator[Goal]:
    for kind, ours in OURS.items():
        for connections in (1, 64, 512):
            for rival in RIVALS[kind]:
                yield Goal(f"requests, {connections} connections", "req/s", ours, 2.0, rival)
        for rival in RIVALS[kind]:
            yield Goal(BULK, "MB/CPU s", ours, 1.5, rival)
        yield Goal(BESIDE, "p99 beside", ours, 3.0, at_most=True)
        yield Goal(BESIDE, "p99 beside", ours, 3.0, at_most=True, other_metric="p99 ms")
        yield Goal(FAR, "Mbit/s", ours, 0.95, DIRECT)
        yield Goal(f"{FAR}, 32 MiB buffers", "Mbit/s", ours, 600.0)
    yield Goal(BULK, "MB/CPU s", OURS[PLAIN], 900.0)


def judged(report: Report) -> list[str]:
    """A line for each goal that something was measured of."""
    return [line for goal in _goals() if (line := goal.judge(report)) is not None]
