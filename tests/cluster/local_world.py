"""A running local driver for tests, with the stand-in sidecar."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lapdev.cluster.local import LocalDriver
from lapdev.cluster.options import LocalOptions
from tests.cluster import contract, contract_kinds
from tests.support import needs
from tests.support.fake_driver import FakeCredentials

CHECKS = contract.CHECKS | contract_kinds.CHECKS
"""Every promise of the contract, by name."""
STANDIN = needs.PROJECT / "tests" / "support" / "standin_sidecar.py"


def options(folder: Path, *, isolation: bool = True, private: tuple[str, ...] = ()) -> LocalOptions:
    runtime_dir = folder / "run"
    return LocalOptions(
        runtime_dir=runtime_dir,
        manager_address=f"unix:{runtime_dir}/manager.sock",
        isolation=isolation,
        private=private,
        sidecar_command=(sys.executable, "-S", str(STANDIN)),
    )


@asynccontextmanager
async def local_world(
    folder: Path, *, isolation: bool = True, private: tuple[str, ...] = ()
) -> AsyncIterator[tuple[LocalDriver, contract.World]]:
    credentials = FakeCredentials()
    driver = LocalDriver(options(folder, isolation=isolation, private=private), credentials)
    await driver.start()
    try:
        yield driver, contract.World(driver, credentials)
    finally:
        await driver.aclose()


async def run_check(folder: Path, check: str) -> None:
    """One promise of the contract, kept by the local driver with isolation."""
    async with local_world(folder) as (_, world):
        await CHECKS[check](world)
