"""The API on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.served_api import ServedApi, served_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ServedApi]:
    async with served_api(tmp_path) as served:
        yield served


@pytest.fixture
def shop_file(tmp_path: Path) -> str:
    """The shop's manifests as a YAML file."""
    import yaml

    from tests.support.shop_manifests import shop

    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump_all(shop()))
    return str(path)
