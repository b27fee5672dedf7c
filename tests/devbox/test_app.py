from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from lapdev.devbox.app import Devbox, run
from lapdev.devbox.state_file import DevboxStatus, StateFile
from lapdev.errors import CallFailed, Conflict, LoginRequired, NotFound
from lapdev.net.tasks import Tasks
from lapdev.settings import DevboxSettings
from tests.support.devbox import connected_devbox, settings_for
from tests.support.devbox_cloud import devbox_cloud, intercept
from tests.support.raw import PATIENCE


class Reports:
    """What `run` reports, to be waited for."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[DevboxStatus] = asyncio.Queue()

    def __call__(self, status: DevboxStatus) -> None:
        self.queue.put_nowait(status)

    async def wait_connected(self) -> DevboxStatus:
        async with asyncio.timeout(PATIENCE):
            while not (status := await self.queue.get()).connected:
                pass
        return status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_connected_until_a_signal_and_others_can_read_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    reports = Reports()
    async with devbox_cloud() as cloud, Tasks() as tasks:
        running = tasks.spawn(run(settings_for(cloud, tmp_path), reports), "devbox")
        status = await reports.wait_connected()
        assert (status.environment, status.namespace) == ("shop", "ns-shop")
        assert [service["name"] for service in status.services] == ["api", "db"]
        seen = StateFile(tmp_path).read()
        assert seen is not None
        assert asdict(seen) == json.loads(json.dumps(asdict(status)))
        await cloud.push(intercepts=(intercept(3000),))
        status = await reports.wait_connected()
        assert status.intercepts[0]["service"] == "api"
        os.kill(os.getpid(), number)
        async with asyncio.timeout(PATIENCE):
            await running
    assert StateFile(tmp_path).read() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["devbox.lock", "device"]


async def test_a_second_connection_of_the_machine_is_refused(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud:
        first = StateFile(tmp_path)
        first.acquire()
        with pytest.raises(Conflict, match="already connected"):
            await run(settings_for(cloud, tmp_path))
        first.release()


async def test_an_unknown_environment_ends_it_with_the_clouds_words(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud, asyncio.timeout(PATIENCE):
        cloud.refuse_with = NotFound("there is no environment 'shop'", hint="there are: a, b")
        with pytest.raises(CallFailed, match="no environment 'shop'") as caught:
            await run(settings_for(cloud, tmp_path))
        assert caught.value.hint == "there are: a, b"
    assert StateFile(tmp_path).read() is None


async def test_a_refused_token_ends_it_and_names_the_remedy(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud, asyncio.timeout(PATIENCE):
        settings = DevboxSettings(
            server=cloud.address, token="wrong", state_dir=str(tmp_path), environment="shop"
        )
        with pytest.raises(LoginRequired) as caught:
            await run(settings)
        assert "LAPDEV_TOKEN_FILE" in caught.value.hint
        assert "wrong" not in str(caught.value)


async def test_a_cloud_that_is_away_is_waited_for_and_a_signal_ends_the_wait(
    tmp_path: Path,
) -> None:
    reports = Reports()
    async with devbox_cloud() as cloud:
        settings = settings_for(cloud, tmp_path)
    async with Tasks() as tasks:
        running = tasks.spawn(run(settings, reports), "devbox")
        async with asyncio.timeout(PATIENCE):
            while not (status := await reports.queue.get()).error:
                pass
            assert not status.connected
            os.kill(os.getpid(), signal.SIGTERM)
            await running


async def test_the_session_is_started_again_when_the_cloud_forgot_it(tmp_path: Path) -> None:
    async with (
        devbox_cloud() as cloud,
        asyncio.timeout(PATIENCE),
        connected_devbox(cloud, tmp_path) as devbox,
    ):
        await cloud.started.get()
        assert cloud.tunnel is not None
        await cloud.tunnel.aclose("forgotten")
        again = await cloud.started.get()
        assert again.environment == "shop"
        assert devbox.session.state is not None


async def test_closing_twice_is_fine(tmp_path: Path) -> None:
    async with devbox_cloud() as cloud, connected_devbox(cloud, tmp_path) as devbox:
        assert isinstance(devbox, Devbox)
        await devbox.aclose()
        await devbox.aclose()
