"""A devbox in the test's own loop, connected to the cloud of `devbox_cloud`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lapdev.devbox.app import Devbox
from lapdev.settings import DevboxSettings
from tests.support.devbox_cloud import TOKEN, DevboxCloud


def settings_for(cloud: DevboxCloud, state_dir: Path, environment: str = "shop") -> DevboxSettings:
    return DevboxSettings(
        server=cloud.address, token=TOKEN, state_dir=str(state_dir), environment=environment
    )


@asynccontextmanager
async def connected_devbox(cloud: DevboxCloud, state_dir: Path) -> AsyncIterator[Devbox]:
    """A devbox whose session has started."""
    async with Devbox(settings_for(cloud, state_dir)) as devbox:
        await devbox.session.wait_started()
        yield devbox
