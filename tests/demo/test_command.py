"""What the demo decides before it starts anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lapdev.demo import command
from tests.support import needs


def test_where_namespaces_are_allowed_pods_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    needs.userns()
    assert command._isolation_works()
    assert capsys.readouterr().err == ""


def test_where_they_are_refused_the_shop_runs_without_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = "Traceback\nlapdev.errors.ClusterError: this machine does not allow it\n"

    def refused(*args: Any, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(args, 1, "", refusal)

    monkeypatch.setattr(subprocess, "run", refused)
    assert not command._isolation_works()
    said = capsys.readouterr().err
    assert "this machine does not allow it" in said
    assert "without isolation" in said


def test_another_terminal_is_told_where_the_command_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a b"))
    assert command._activation() == ""
    script = tmp_path / "a b" / "bin" / "activate"
    script.parent.mkdir(parents=True)
    script.touch()
    assert command._activation() == f"  . '{script}'\n"
