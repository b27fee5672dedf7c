"""The server in the background: one per data directory, ended only if `up` started it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lapdev.client import server_process
from lapdev.client.server_process import background_pid, ensure_server, stop_server
from lapdev.errors import ClusterError, ConfigError, NotReady

HOLDER = """
import fcntl, json, os, signal, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, json.dumps({"pid": os.getpid()}).encode(), 0)
signal.pthread_sigmask(signal.SIG_BLOCK, {int(word) for word in sys.argv[2:]})
print("held", flush=True)
signal.pause()
"""


@contextmanager
def holder(directory: Path, *ignored: int, mark: str = "up") -> Iterator[int]:
    """A process that has the directory's lock, as a supervisor does."""
    environ = {**os.environ, "LAPDEV_STARTED_BY": mark}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory / "lock"), *map(str, ignored)],
        env=environ,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_server_that_runs_is_used(tmp_path: Path) -> None:
    with holder(tmp_path, mark=""):
        assert not ensure_server(tmp_path, ["--nonsense"], os.environ).started


def test_one_that_its_user_started_is_not_ended(tmp_path: Path) -> None:
    with holder(tmp_path, mark="") as pid:
        assert background_pid(tmp_path) == 0
        assert not stop_server(tmp_path)
        os.kill(pid, 0)


def test_one_that_up_started_is_ended(tmp_path: Path) -> None:
    with holder(tmp_path) as pid:
        assert background_pid(tmp_path) == pid
        assert stop_server(tmp_path)
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not stop_server(tmp_path), "it is gone already"


def test_one_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "STOP_TIMEOUT", 0.05)
    with holder(tmp_path, 15):
        assert stop_server(tmp_path)


def test_a_process_with_the_number_of_a_dead_server_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": os.getppid()}))
    assert not stop_server(tmp_path)


# Starting


def environ(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAPDEV_")}
    return {**kept, "HOME": str(home), **more}


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="did not start: listen unix:/x:") as caught:
        ensure_server(tmp_path / "data", ["--listen=unix:/x"], environ(tmp_path))
    assert "lapdev:" not in caught.value.detail
    assert str(tmp_path / "data" / "serve.log") in caught.value.hint
    assert (tmp_path / "data" / "serve.log").stat().st_mode & 0o777 == 0o600


def test_a_server_that_says_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "START_TIMEOUT", 0.0)
    with pytest.raises(NotReady, match="did not serve within 0 s"):
        ensure_server(tmp_path, ["--listen=127.0.0.1:0"], environ(tmp_path))
    assert background_pid(tmp_path) == 0


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data directory .*file/data: Not a directory"):
        ensure_server(tmp_path / "file" / "data", [], environ(tmp_path))


@pytest.mark.parametrize("variable", ["LAPDEV_LISTEN", "LAPDEV_CONFIG"])
def test_a_port_that_is_taken_is_changed_unless_the_user_chose_it(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(server_process, "PREFERRED", taken.getsockname())
        flags, changed = server_process._defaults({})
        assert changed
        assert "--listen=127.0.0.1:0" in flags
        flags, changed = server_process._defaults({variable: "x"})
        assert not changed
        assert not any("listen" in flag for flag in flags)
    assert server_process._defaults({}) == (["--log-level=warning"], False)
