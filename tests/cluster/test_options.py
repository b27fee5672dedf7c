"""What the local driver can be told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lapdev.cluster.options import LocalOptions, base_environment


def test_the_sidecar_is_lapdevs_own_unless_told_otherwise() -> None:
    options = LocalOptions(Path("/run/x"), "unix:/m")
    assert options.sidecar_argv() == [
        sys.executable, "-P", "-m", "lapdev", "serve", "--role", "sidecar"
    ]  # fmt: skip
    assert LocalOptions(Path("/run/x"), "unix:/m", sidecar_command=("x",)).sidecar_argv() == ["x"]


def test_only_harmless_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("LAPDEV_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    assert base_environment()["LANG"] == "C.UTF-8"
    assert base_environment().keys() <= {"PATH", "HOME", "LANG", "LC_ALL", "TZ"}
