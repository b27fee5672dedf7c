"""The contract of `lapdev demo --json`: one line, the right answers, a clean end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

from lapdev.demo import shop
from lapdev.demo.checks.processes import is_alive
from tests.support import demo, needs

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def get(edge: str, host: str, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(edge, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_one_line_serves_and_leaves_nothing_behind(number: signal.Signals) -> None:
    needs.userns()
    with demo.places() as where, demo.running(where) as shown:
        ready = shown.ready
        assert list(ready) == ["event", "edge", "previews", "pids"]
        assert ready["event"] == "ready"
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", ready["edge"])
        assert list(ready["previews"]) == ["shop", "checkout-v2", "search-fix"]
        for name, url in ready["previews"].items():
            parts = urlsplit(url)
            assert parts.scheme == "http"
            assert re.fullmatch(r"80-web-[a-z0-9]{12}\.lapdev\.localhost", parts.hostname or "")
            assert parts.port == int(ready["edge"].rpartition(":")[2])
            status, hops = get(ready["edge"], parts.netloc, "/hops.json")
            assert status == 200
            assert shop.problem_with(hops, shop.expected()[name]) == ""
        processes = demo.all_processes(shown)
        assert {ready["pids"]["cloud"], ready["pids"]["manager"]} < processes
        assert shown.stop(number) == 0
        assert shown.process.stdout is not None
        assert shown.process.stdout.read() == "", "one line, and no more"
        assert [pid for pid in processes if is_alive(pid)] == []
        assert where.left() == []


def test_a_killed_demo_takes_its_processes_with_it() -> None:
    needs.userns()
    with demo.places() as where, demo.running(where) as shown:
        processes = demo.all_processes(shown) - {shown.process.pid}
        waiting = [os.pidfd_open(pid) for pid in processes if is_alive(pid)]
        shown.process.kill()
        shown.process.wait()
        for descriptor in waiting:
            ended, _, _ = select.select([descriptor], [], [], 10)
            os.close(descriptor)
            assert ended, "a process outlived the demo"


def test_a_signal_during_the_start_leaves_nothing_behind_either() -> None:
    needs.userns()
    with demo.places() as where:
        process = demo.start(where, "--json", "--listen", "127.0.0.1:0")
        assert process.stdout is not None
        while not any(where.temporary.glob("*/lapdev/cluster-token")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
            assert process.returncode is None
        processes = demo.descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(demo.STOP_TIMEOUT) == 0
        assert process.stdout.read() == ""
        process.stdout.close()
        assert [pid for pid in processes if is_alive(pid)] == []
        assert where.left() == []
