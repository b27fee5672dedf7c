"""An environment that is to run exactly these objects: made, changed, or left alone."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import Cluster, ClusterId, EnvironmentKind
from lapdev.store import NewEnvironment, PreviewWish, Store
from tests.support.shop_manifests import Manifest, deployment, shop


@pytest.fixture
def wanted(cluster: Cluster) -> NewEnvironment:
    web = PreviewWish("web", 8080)
    return NewEnvironment("shop", EnvironmentKind.SHARED, cluster.id, tuple(shop()), (web,))


def with_objects(new: NewEnvironment, *objects: Manifest) -> NewEnvironment:
    return dataclasses.replace(new, manifests=objects)


async def test_it_is_made_where_there_is_none(store: Store, wanted: NewEnvironment) -> None:
    put = await store.put_environment(wanted)
    assert put.before is None
    assert put.touched == (put.environment.id,)
    assert await store.environment("shop") == put.environment
    assert len(await store.previews("shop")) == 1


async def test_the_same_again_in_any_order_changes_nothing(
    store: Store, wanted: NewEnvironment
) -> None:
    made = (await store.put_environment(wanted)).environment
    revision = await store.revision()
    for objects in (shop(), shop()[::-1]):
        again = await store.put_environment(with_objects(wanted, *objects))
        assert again.environment == again.before == made
        assert again.touched == ()
    assert await store.revision() == revision


async def test_other_objects_are_a_new_generation_of_the_same_environment(
    store: Store, wanted: NewEnvironment
) -> None:
    made = (await store.put_environment(wanted)).environment
    put = await store.put_environment(with_objects(wanted, deployment("web", image="shop:2")))
    assert put.before == made
    assert put.environment.generation > made.generation
    assert (put.environment.id, put.environment.namespace) == (made.id, made.namespace)
    assert put.environment.manifests == (deployment("web", image="shop:2"),)
    assert put.touched == (made.id,)


async def test_branches_keep_their_own_versions_and_are_named_when_their_previews_changed(
    store: Store, wanted: NewEnvironment
) -> None:
    base = (await store.put_environment(wanted)).environment
    await store.create_branch("fix", "shop")
    branch = await store.set_workloads("fix", [deployment("api")])
    only_objects = await store.put_environment(with_objects(wanted, deployment("web")))
    assert only_objects.touched == (base.id,)
    put = await store.put_environment(dataclasses.replace(wanted, previews=()))
    assert set(put.touched) == {base.id, branch.id}
    assert (await store.environment("fix")).manifests == (deployment("api"),)


async def test_two_at_the_same_time_are_one_after_the_other(
    store: Store, wanted: NewEnvironment
) -> None:
    objects = [deployment("web", image=f"shop:{number}") for number in range(8)]
    puts = await asyncio.gather(
        *(store.put_environment(with_objects(wanted, item)) for item in objects)
    )
    assert sum(put.before is None for put in puts) == 1
    assert len({put.environment.generation for put in puts}) == len(puts)
    last = max(puts, key=lambda put: put.environment.generation)
    assert await store.environment("shop") == last.environment


async def test_another_kind_is_a_conflict_unless_any_will_do(
    store: Store, wanted: NewEnvironment
) -> None:
    await store.put_environment(wanted)
    personal = dataclasses.replace(wanted, kind=EnvironmentKind.PERSONAL)
    with pytest.raises(Conflict, match="shop is a shared environment, not a personal one") as told:
        await store.put_environment(personal)
    assert "lapdev env delete shop" in told.value.hint
    kept = await store.put_environment(personal, any_kind=True)
    assert kept.environment.kind is EnvironmentKind.SHARED


async def test_a_branch_another_cluster_and_a_deletion_are_conflicts(
    store: Store, wanted: NewEnvironment
) -> None:
    await store.put_environment(wanted)
    await store.create_branch("fix", "shop")
    with pytest.raises(Conflict, match="fix is a branch") as told:
        await store.put_environment(dataclasses.replace(wanted, name="fix"), any_kind=True)
    assert "lapdev env override" in told.value.hint
    other = await store.ensure_cluster("other", "b" * 64)
    with pytest.raises(Conflict, match="in another cluster"):
        await store.put_environment(dataclasses.replace(wanted, cluster=other.id))
    await store.remove_environment((await store.environment("fix")).id)
    await store.mark_deleting("shop")
    with pytest.raises(Conflict, match="being deleted"):
        await store.put_environment(wanted)


async def test_a_bad_name_and_an_unknown_cluster_are_refused(
    store: Store, wanted: NewEnvironment
) -> None:
    with pytest.raises(ConfigError, match="not a DNS label"):
        await store.put_environment(dataclasses.replace(wanted, name="My Shop"))
    with pytest.raises(NotFound, match="no cluster"):
        await store.put_environment(dataclasses.replace(wanted, cluster=ClusterId("moon")))
    assert await store.environments() == []
