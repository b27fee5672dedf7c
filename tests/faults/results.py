"""A result on one line, and its row in docs/reliability.md."""

from __future__ import annotations

import datetime
import os
import subprocess

from tests.faults.stage import Result
from tests.support.needs import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
END = "<!-- end of results -->"


def line(result: Result) -> str:
    """For a terminal."""
    word = "passed" if result.passed else f"FAILED ({len(result.findings)} findings)"
    run = f"{result.scenario} seed {result.seed} {commit()}"
    return f"{run}: {word} in {result.seconds:.0f} s | {told(result)}"


def told(result: Result) -> str:
    return ", ".join(f"{name} {round(value, 2):g}" for name, value in result.numbers.items())


def row(result: Result) -> str:
    """For the table."""
    day = datetime.datetime.now(datetime.UTC).date()
    word = "passed" if result.passed else f"failed: {result.findings[0]}"
    cells = (result.scenario, str(result.seed), commit(), str(day), word, told(result))
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def record(result: Result) -> None:
    """The table has one more row."""
    text = PAGE.read_text()
    PAGE.write_text(text.replace(END, f"{row(result)}\n{END}"))


def commit() -> str:
    """What was run, as far as git knows; a `+` says that the product was changed since."""
    name = _git("rev-parse", "--short", "HEAD").stdout.strip()
    changed = _git("diff", "--quiet", "HEAD", "--", "lapdev").returncode
    return (name or "unknown") + ("+" if name and changed else "")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(
        ["git", *words], cwd=PROJECT, env=environ, capture_output=True, text=True, check=False
    )
