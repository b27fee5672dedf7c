"""The dialling end: refusals, coming back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.errors import (
    ConfigError,
    ConnectFailed,
    TunnelRefused,
)
from lapdev.tunnel import Uplink, UplinkOptions
from lapdev.wire.control import ReportCluster
from tests.support.tunnel_ends import (
    FAST,
    Acceptor,
    Watcher,
    connected,
    first_error,
)

HELLO = ReportCluster(version="0.1", driver="local")


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_refusal_is_named_and_tried_again(tmp_path: Path, status: int) -> None:
    async with connected(tmp_path, wait=False) as ends:
        ends.acceptor.refuse_with = status
        error = await first_error(ends.uplink)
        assert isinstance(error, TunnelRefused)
        assert error.answer_status == status
        assert "unknown token" in str(error)
        assert "s3cret" not in str(error)
        assert ("token" in error.hint) == (status != 500)
        ends.acceptor.refuse_with = 0
        assert (await ends.uplink.wait_up()).connected
        assert ends.uplink.last_error is None


async def test_an_acceptor_that_is_not_there_yet_is_found_when_it_is(tmp_path: Path) -> None:
    watcher = Watcher()
    address = f"unix:{tmp_path}/s"
    uplink = Uplink(UplinkOptions(address, "/t", "x", "manager", "i", tunnel=FAST), watcher)
    task = asyncio.get_running_loop().create_task(uplink.run())
    assert isinstance(await first_error(uplink), ConnectFailed)
    acceptor = Acceptor(address, FAST)
    await acceptor.start()
    await uplink.wait_up()
    task.cancel()
    await asyncio.wait([task])
    await acceptor.aclose()


async def test_an_address_that_cannot_be_dialled_is_said(tmp_path: Path) -> None:
    uplink = Uplink(UplinkOptions("ftp://x", "/t", "x", "manager", "i", tunnel=FAST), Watcher())
    task = asyncio.get_running_loop().create_task(uplink.run())
    assert isinstance(await first_error(uplink), ConfigError)
    task.cancel()
    await asyncio.wait([task])


async def test_stopping_ends_the_session_at_both_ends(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        await ends.tasks.aclose()
        assert ends.uplink.tunnel is None
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        assert not ends.acceptor.watcher.down
