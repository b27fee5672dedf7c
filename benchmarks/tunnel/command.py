"""`python -m benchmarks tunnel`: what of it is measured, and where the figures go."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.tunnel import cases, goals, peers
from benchmarks.tunnel.machine import PROJECT
from benchmarks.tunnel.report import Report

QUICK_SECONDS = 1.0


def main(argv: list[str]) -> None:
    """Measures, prints the tables, and writes all values as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tunnel", description=__doc__)
    parser.add_argument("--only", default="", help="cases: a regular expression")
    parser.add_argument("--who", default="", help="contestants: a regular expression")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--quick", action="store_true", help="a look whether all works: 1 round")
    parser.add_argument("--congestion", default="", help="TCP's congestion control on paths")
    parser.add_argument("--json", type=Path, help="where the values go")
    given = parser.parse_args(argv)
    if os.geteuid() != 0:
        raise SystemExit("benchmarks: run as root: ssh -R, packet paths and priorities need it")
    peers.build()
    plan = cases.Plan(
        only=re.compile(given.only),
        who=re.compile(given.who),
        rounds=1 if given.quick else given.rounds,
        seconds=QUICK_SECONDS if given.quick else given.seconds,
        connections=(64,) if given.quick else (1, 64, 512),
        tunnels=100 if given.quick else 1000,
        ways=cases.WAYS[2:5:2] if given.quick else cases.WAYS,
        ramp=1.0 if given.quick else 4.0,
        congestion=given.congestion,
    )
    report = Report(_about(argv, plan))
    try:
        cases.run(plan, report, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    finally:
        if given.json is not None:
            report.save(given.json)
        for name, value in report.about.items():
            print(f"{name}: {value}")
        print(report.table())
        print("\n".join(["", "Goals:", *goals.judged(report)]))


def _about(argv: list[str], plan: cases.Plan) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "command": " ".join(["python -m benchmarks tunnel", *argv]),
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        **peers.versions(),
    }
