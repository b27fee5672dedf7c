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


def test_what_is_lapdevs_own_is_hidden_and_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    options = LocalOptions(
        Path("/run/x"), "unix:/m", private=("/data",), volumes_dir=Path("/data/volumes")
    )
    refused = set(options.refused_paths())
    assert {"/run/x", "/data", "/data/volumes", "/home/me/.config/lapdev"} <= refused
    assert "/home/me/.ssh" not in refused
    assert "/tmp" not in refused
    covered = options.covered_folders()
    assert refused | {"/tmp", "/dev/shm", "/home/me/.ssh", "/run/docker.sock"} <= set(covered)
    assert len(covered) == len(set(covered))
