"""Intercepts: one per workload, found by the hash of their token."""

from __future__ import annotations

import dataclasses

import pytest

from lapdev.errors import Conflict, NotFound
from lapdev.model import (
    Cluster,
    DeviceId,
    Environment,
    EnvironmentKind,
    Intercept,
    InterceptId,
    PortMap,
)
from lapdev.store import NewEnvironment, Store
from lapdev.store.names import new_id

HASH = "e" * 64


@pytest.fixture
async def shop(store: Store, cluster: Cluster) -> Environment:
    new = NewEnvironment("shop", EnvironmentKind.SHARED, cluster.id)
    return await store.create_environment(new)


def intercept(environment: Environment, workload: str = "api") -> Intercept:
    return Intercept(
        id=InterceptId(new_id()),
        environment=environment.id,
        service=workload,
        workload=workload,
        device=DeviceId("laptop"),
        ports=(PortMap(8080, 3000), PortMap(9090, 9090)),
        include_branches=True,
    )


async def test_what_is_created_is_read_back(store: Store, shop: Environment) -> None:
    wanted = intercept(shop)
    assert await store.create_intercept(wanted, HASH) == wanted
    assert await store.intercept(wanted.id) == wanted
    assert await store.intercepts() == await store.intercepts("shop") == [wanted]
    assert await store.intercepts(device=DeviceId("laptop")) == [wanted]
    assert await store.intercepts(device=DeviceId("other")) == []
    assert await store.intercept_by_token(HASH) == wanted
    assert await store.intercept_by_token("f" * 64) is None


async def test_a_workload_is_intercepted_once(store: Store, shop: Environment) -> None:
    first = await store.create_intercept(intercept(shop), HASH)
    with pytest.raises(Conflict, match="already intercepted by device laptop") as caught:
        await store.create_intercept(intercept(shop), "f" * 64)
    assert first.id in caught.value.hint
    await store.create_intercept(intercept(shop, workload="web"), "f" * 64)


async def test_branch_and_base_are_intercepted_independently(
    store: Store, shop: Environment
) -> None:
    branch = await store.create_branch("fix", "shop")
    await store.create_intercept(intercept(shop), HASH)
    await store.create_intercept(intercept(branch), "f" * 64)
    assert len(await store.intercepts()) == 2
    assert len(await store.intercepts("fix")) == 1


async def test_an_intercept_on_a_branch_stamps_branch_and_base(
    store: Store, shop: Environment
) -> None:
    branch = await store.create_branch("fix", "shop")
    made = await store.create_intercept(intercept(branch), HASH)
    added = [(await store.environment(ref)).generation for ref in ("fix", "shop")]
    await store.remove_intercept(made.id)
    removed = [(await store.environment(ref)).generation for ref in ("fix", "shop")]
    assert added[0] == added[1] > branch.generation
    assert removed[0] == removed[1] > added[0]


async def test_a_removed_intercepts_token_is_worthless(store: Store, shop: Environment) -> None:
    made = await store.create_intercept(intercept(shop), HASH)
    assert await store.remove_intercept(made.id) == made
    assert await store.intercept_by_token(HASH) is None
    with pytest.raises(NotFound, match=made.id):
        await store.remove_intercept(made.id)


async def test_intercepts_go_with_their_environment(store: Store, shop: Environment) -> None:
    await store.create_intercept(intercept(shop), HASH)
    await store.remove_environment(shop.id)
    assert await store.intercepts() == []


async def test_an_environment_that_is_being_deleted_takes_none(
    store: Store, shop: Environment
) -> None:
    await store.mark_deleting("shop")
    with pytest.raises(Conflict, match="being deleted"):
        await store.create_intercept(intercept(shop), HASH)


async def test_an_unknown_environment_is_not_found(store: Store, shop: Environment) -> None:
    stray = dataclasses.replace(intercept(shop), environment=InterceptId("gone"))
    with pytest.raises(NotFound):
        await store.create_intercept(stray, HASH)
    with pytest.raises(NotFound):
        await store.intercepts("gone")
