from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from lapdev.devbox.program import proxy_environment, run_alone, run_beside
from lapdev.errors import NotFound
from lapdev.net.tasks import Tasks
from tests.support.devbox import settings_for
from tests.support.devbox_cloud import devbox_cloud
from tests.support.raw import PATIENCE, answer_every_request, recording_app

ASKS_API = """
import sys, urllib.request
body = urllib.request.urlopen("http://api:8080/hello", timeout=10).read()
sys.exit(40 + (body == b"GET /hello HTTP/1.1"))
"""

TELLS_SIGNAL = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
open(sys.argv[1], "w").close()
while True: time.sleep(1)
"""


def test_a_program_is_told_of_the_proxy_in_both_cases_and_reaches_its_own_machine() -> None:
    given = {"PATH": "/bin", "NO_PROXY": "api", "http_proxy": "http://office:3128"}
    environment = proxy_environment("127.0.0.1:99", given)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        assert environment[name] == environment[name.upper()] == "http://127.0.0.1:99"
    assert environment["NO_PROXY"] == environment["no_proxy"] == "localhost,127.0.0.1,::1"
    assert environment["PATH"] == "/bin"


async def test_a_program_reaches_a_service_by_name_over_a_session_of_its_own(
    tmp_path: Path,
) -> None:
    async with (
        recording_app(answer_every_request) as app,
        devbox_cloud(p8080=app.address) as cloud,
        asyncio.timeout(2 * PATIENCE),
    ):
        settings = settings_for(cloud, tmp_path)
        assert await run_alone(settings, [sys.executable, "-c", ASKS_API]) == 41
    assert not (tmp_path / "devbox.json").exists()


async def test_a_session_that_is_refused_starts_no_program(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud, asyncio.timeout(PATIENCE):
        cloud.refuse_with = NotFound("there is no environment 'shop'")
        with pytest.raises(Exception, match="no environment 'shop'"):
            await run_alone(settings_for(cloud, tmp_path), ["touch", str(tmp_path / "ran")])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 128 + 9)]
)
async def test_the_programs_exit_code_is_ours(script: str, code: int) -> None:
    assert await run_beside("127.0.0.1:1", ["sh", "-c", script]) == code


async def test_signals_reach_the_program(tmp_path: Path) -> None:
    flag = tmp_path / "running"
    async with Tasks() as tasks, asyncio.timeout(2 * PATIENCE):
        command = [sys.executable, "-c", TELLS_SIGNAL, str(flag)]
        running = tasks.spawn(run_beside("127.0.0.1:1", command), "program")
        while not flag.exists():
            await asyncio.wait({running}, timeout=0.02)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await running == 7


async def test_a_program_that_cannot_run_is_named_with_the_code_a_shell_has_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_beside("127.0.0.1:1", ["no-such-program"]) == 127
    assert "no-such-program: no such program" in capsys.readouterr().err
    (tmp_path / "plain").write_text("text")
    assert await run_beside("127.0.0.1:1", [str(tmp_path / "plain")]) == 126
    assert "Permission denied" in capsys.readouterr().err
