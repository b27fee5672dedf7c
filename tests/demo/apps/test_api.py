from __future__ import annotations

import httpx
import pytest

from tests.support import shop

pytestmark = pytest.mark.slow


def test_without_search_and_redis_it_still_answers_and_names_both() -> None:
    with shop.shop() as running:
        api = running.start(
            "api.py",
            VERSION="laptop",
            SEARCH_URL=f"http://127.0.0.1:{shop.free_port()}",
            REDIS_URL=f"redis://127.0.0.1:{shop.free_port()}/0",
        )
        api.wait_listening()
        hops = httpx.get(api.url + "/shop", trust_env=False).json()["hops"]
    assert hops[0]["version"] == "laptop"
    assert [(hop["service"], "error" in hop) for hop in hops[1:]] == [
        ("search", True),
        ("redis", True),
    ]


def test_connections_are_counted_once_each_and_probes_not_at_all() -> None:
    with shop.shop() as running:
        api = running.start("api.py")
        api.wait_listening()
        httpx.get(api.url + "/healthz", trust_env=False)
        with httpx.Client(base_url=api.url, trust_env=False) as client:
            assert [client.get("/connections").json()["opened"] for _ in range(3)] == [1, 1, 1]
        counts = httpx.get(api.url + "/connections", trust_env=False).json()
        assert counts == {"opened": 2, "requests": 4}
        counts = httpx.get(api.url + "/connections?after=4", trust_env=False).json()
        assert counts == {"opened": 1, "requests": 5}
