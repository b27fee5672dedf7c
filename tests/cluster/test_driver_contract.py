"""The contract of `cluster.driver`, kept by the fake and by the local driver alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import contract
from tests.cluster.local_world import CHECKS, local_world
from tests.support.fake_driver import FakeCredentials, FakeDriver
from tests.support.in_outer import run_in_outer


@pytest.mark.parametrize("check", CHECKS)
async def test_the_fake_driver_keeps_the_contract(check: str) -> None:
    credentials = FakeCredentials()
    driver = FakeDriver(credentials)
    await driver.start()
    await CHECKS[check](contract.World(driver, credentials))
    await driver.aclose()


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_the_local_driver_keeps_the_contract(check: str) -> None:
    run_in_outer("tests.cluster.local_world", "run_check", check)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
async def test_the_local_driver_without_isolation_keeps_the_contract(
    check: str, tmp_path: Path
) -> None:
    async with local_world(tmp_path, isolation=False) as (_, world):
        await CHECKS[check](world)
