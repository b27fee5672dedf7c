"""`lapdev demo --check`: every promise of the demo, driven from outside."""

from __future__ import annotations

import subprocess

import pytest

from lapdev.demo.check import CHECKS
from tests.support import demo, needs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_check_passes_and_nothing_is_left_behind() -> None:
    needs.userns()
    with demo.places() as where:
        process = demo.start(where, "--check", "--listen", "127.0.0.1:0")
        try:
            shown, _ = process.communicate(timeout=280)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert process.returncode == 0, shown
        assert f"{len(CHECKS)} of {len(CHECKS)} passed" in shown
        assert "FAILED" not in shown
        assert where.left() == []
