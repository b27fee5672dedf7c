"""What a run leaves behind: a line, and a row on the page that tells of every scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults import results
from tests.faults.__main__ import arguments
from tests.faults.scenarios import SCENARIOS, chosen
from tests.faults.stage import Result

RESULT = Result("F8", 7, [], {"resumes": 30.0, "back after s": 0.125}, 80.0, {"get ok": 3})


def test_every_scenario_is_told_on_the_page() -> None:
    table = results.PAGE.read_text().partition("## Scenarios")[2].partition("## Results")[0]
    told = {
        name
        for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
        for name in cell.split(", ")
    }
    assert set(SCENARIOS) - {"smoke"} <= {name.strip() for name in told}


def test_a_row_has_as_many_cells_as_the_table() -> None:
    head = results.PAGE.read_text().partition("| scenario | seed")[2].splitlines()[0]
    failed = Result("F6", 7, ["G1 a | b"], {}, 1.0, {})
    for result in (RESULT, failed):
        assert results.row(result).count("|") == ("| scenario | seed" + head).count("|")
    assert "failed: G1 a / b" in results.row(failed)


def test_a_row_is_added_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"| first |\n{results.END}\nmore\n")
    monkeypatch.setattr(results, "PAGE", page)
    results.record(RESULT)
    lines = page.read_text().splitlines()
    assert lines[0] == "| first |"
    assert lines[1].startswith("| F8 | 7 | ")
    assert lines[1].endswith("| passed | resumes 30, back after s 0.12 |")
    assert lines[2:] == [results.END, "more"]


def test_all_is_everything_but_the_soak_which_lasts_as_long_as_is_said() -> None:
    assert [each.name for each in chosen([])] == [name for name in SCENARIOS if name != "soak"]
    (soak,) = chosen(["soak"], minutes=3)
    assert "3 minutes" in soak.title


def test_a_run_that_is_not_the_real_one_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["F6", "--scale", "0.1", "--record"])
    assert "--record" in capsys.readouterr().err
