"""Preview URLs."""

from __future__ import annotations

import pytest

from lapdev.errors import Conflict, NotFound
from lapdev.model import Cluster, EnvironmentKind
from lapdev.store import NewEnvironment, Store


@pytest.fixture(autouse=True)
async def shop(store: Store, cluster: Cluster) -> None:
    await store.create_environment(NewEnvironment("shop", EnvironmentKind.SHARED, cluster.id))


async def test_a_label_leads_to_its_preview(store: Store) -> None:
    made = await store.create_preview("shop", "web", 8080)
    assert await store.preview_by_label(made.label) == made
    assert await store.preview_by_label(made.label.upper()) is None
    assert await store.preview_by_label("8080-web-000000000000") is None


async def test_a_service_port_has_one_preview(store: Store) -> None:
    made = await store.create_preview("shop", "web", 8080)
    with pytest.raises(Conflict, match=made.label):
        await store.create_preview("shop", "web", 8080)
    await store.create_preview("shop", "web", 8081)
    assert [p.port for p in await store.previews("shop")] == [8080, 8081]


async def test_a_long_service_name_still_makes_one_label(store: Store) -> None:
    made = await store.create_preview("shop", "s" * 63, 65535)
    assert len(made.label) == 63
    assert made.service == "s" * 63


async def test_previews_of_an_unknown_environment_are_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.previews("gone")
    with pytest.raises(NotFound):
        await store.create_preview("gone", "web", 8080)
