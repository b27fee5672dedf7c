"""The rig itself, with real processes: a reset, a killed socket and a silence break nothing."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from tests.support import needs
from tests.support.needs import PROJECT

SEED = 7


@pytest.mark.e2e
@pytest.mark.slow
async def test_streams_go_on_over_lost_connections() -> None:
    needs.tool("iptables")
    needs.tool("unshare")
    needs.userns()
    command = [sys.executable, "-P", "-m", "tests.faults", "smoke", f"--seed={SEED}", "--json"]
    running = await asyncio.create_subprocess_exec(
        *command,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await running.communicate()
    assert out, errors.decode()
    result = json.loads(out)
    assert result["findings"] == []
    assert result["numbers"]["streams failed"] == 0
    assert result["numbers"]["resumes"] >= 2
    assert result["numbers"]["answered %"] == 100
