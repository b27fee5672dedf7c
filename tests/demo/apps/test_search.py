from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support import needs, shop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["python", "node"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "node":
        needs.tool("node")
    return str(request.param)


@pytest.fixture(scope="module")
def versions(runtime: str) -> Iterator[dict[str, shop.App]]:
    with shop.shop() as running:
        apps = {
            version: running.start("start_search.py", SEARCH_RUNTIME=runtime, VERSION=version)
            for version in ("v1", "fix")
        }
        for app in apps.values():
            app.wait_listening()
        yield apps


def ask(app: shop.App, path: str) -> httpx.Response:
    return httpx.get(app.url + path, trust_env=False)


def test_the_answer_names_version_and_runtime(runtime: str, versions: dict[str, shop.App]) -> None:
    hop = ask(versions["fix"], "/search").json()["hop"]
    assert hop == {"service": "search", "version": "fix", "runtime": runtime}


@pytest.mark.parametrize(("version", "names"), [("v1", 1), ("fix", 2)])
def test_only_the_fix_ignores_case(versions: dict[str, shop.App], version: str, names: int) -> None:
    assert len(ask(versions[version], "/search?q=lamp").json()["items"]) == names


def test_an_unknown_page_is_404_and_the_probe_is_200(versions: dict[str, shop.App]) -> None:
    assert ask(versions["v1"], "/nothing").status_code == 404
    assert ask(versions["v1"], "/healthz").status_code == 200


def test_it_stops_at_once_on_sigterm(runtime: str) -> None:
    with shop.shop() as running:
        app = running.start("start_search.py", SEARCH_RUNTIME=runtime)
        app.wait_listening()
        app.process.terminate()
        assert app.process.wait(5) == 0
