"""The shop runs once for all tests of its services."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support import shop


@pytest.fixture(scope="package")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shop.App]:
    links = tmp_path_factory.mktemp("shop") / "links.json"
    with shop.shop() as running:
        page = shop.whole_shop(running, links)
        links.write_text(json.dumps({"shop": page.url, "checkout-v2": "http://two.test/"}))
        yield page
