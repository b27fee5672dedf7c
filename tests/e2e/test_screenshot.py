"""The shop in a real browser: headless Chromium renders every preview; the pictures are kept."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from lapdev.demo import shop
from tests.support import demo, needs
from tests.support.needs import PROJECT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PICTURES = PROJECT / ".lapdev" / "screenshots"
PNG = b"\x89PNG\r\n\x1a\n"


def chromium(browser: Path, *words: str) -> str:
    """What the browser prints. It resolves *.localhost by itself, as RFC 6761 has it."""
    with tempfile.TemporaryDirectory(prefix="ld-chromium-") as profile:
        done = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-proxy-server",
                f"--user-data-dir={profile}",
                *words,
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
    return done.stdout


def test_a_browser_shows_each_preview_with_its_own_versions_screenshot() -> None:
    needs.userns()
    browser = needs.tool("chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with demo.places() as where, demo.running(where) as shown:
        for name, url in shown.ready["previews"].items():
            page = chromium(browser, "--dump-dom", url)
            found = re.findall(r'class="service">([a-z]+)</span><strong>([^<]+)</strong>', page)
            assert dict(found[:3]) == shop.expected()[name]
            picture = PICTURES / f"{name}.png"
            chromium(browser, "--window-size=1100,720", f"--screenshot={picture}", url)
            assert picture.read_bytes().startswith(PNG)
            assert picture.stat().st_size > 10_000, "a blank page compresses to less"
