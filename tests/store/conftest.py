"""A store on a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.model import Cluster
from lapdev.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/lapdev.db")
    try:
        yield opened
    finally:
        await opened.aclose()


@pytest.fixture
async def cluster(store: Store) -> Cluster:
    return await store.ensure_cluster("local", "a" * 64)
