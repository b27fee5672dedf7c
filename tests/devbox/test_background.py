from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.devbox import background
from lapdev.errors import NotFound, NotReady
from tests.devbox.test_commands import output
from tests.support.devbox_cloud import devbox_cloud

pytestmark = pytest.mark.slow


async def test_in_the_background_it_returns_once_connected(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        words = ("connect", "--environment", "shop", "--background")
        code, out, err = await output(cloud, tmp_path, *words)
        assert (code, err) == (0, "")
        assert out.startswith(f"Connected to shop at {cloud.address}\n")
        assert (await output(cloud, tmp_path, "status"))[0] == 0
        code, _, err = await output(cloud, tmp_path, *words)
        assert code == 1
        assert err.startswith("lapdev: this machine is already connected")
        code, out, _ = await output(cloud, tmp_path, "disconnect")
        assert (code, out) == (0, "Disconnected from shop.\n")


async def test_what_stops_it_in_the_background_is_told_at_once(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        cloud.refuse_with = NotFound("there is no environment 'shop'", hint="there are: a, b")
        code, out, err = await output(cloud, tmp_path, "connect", "--background")
        assert (code, out) == (1, "")
        assert err == "lapdev: there is no environment 'shop': there are: a, b\n"


def test_a_cloud_that_does_not_answer_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = tmp_path / "state"
    monkeypatch.setattr(background, "START_TIMEOUT", 1.0)
    monkeypatch.setenv("LAPDEV_TOKEN", "t")
    monkeypatch.setenv("LAPDEV_STATE_DIR", str(state_dir))
    with pytest.raises(NotReady) as caught:
        background.start_connect(["--server=http://127.0.0.1:1"], state_dir)
    assert caught.value.detail.startswith("not connected after 1 s")
    assert str(state_dir / "devbox.log") in caught.value.hint


def test_the_working_directory_is_no_place_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lapdev").mkdir()
    (tmp_path / "lapdev" / "__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAPDEV_SERVER", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert background.start_connect([], tmp_path / "state") == 1
    assert capsys.readouterr().err.startswith("lapdev: no server is known on this machine: ")
