"""Environments, branches, and which generation a change gives to whom."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import Cluster, ClusterId, Environment, EnvironmentKind, EnvironmentStatus
from lapdev.store import NewEnvironment, PreviewWish, Store
from lapdev.store.environments import Manifest, WorkloadChange
from tests.support.shop_manifests import deployment, shop

WEB = PreviewWish("web", 8080)
OFFERED = frozenset({("web", 8080), ("api", 8080)})


async def make(store: Store, cluster: Cluster, name: str = "shop") -> Environment:
    objects = tuple(shop())
    new = NewEnvironment(name, EnvironmentKind.SHARED, cluster.id, objects, (WEB,), OFFERED)
    return await store.create_environment(new)


def becomes(manifest: Manifest | None) -> WorkloadChange:
    def change(own: Manifest | None, base: Sequence[Manifest]) -> Manifest | None:
        return manifest

    return change


async def test_what_is_created_is_read_back_by_id_and_by_name(
    store: Store, cluster: Cluster
) -> None:
    made = await make(store, cluster)
    assert re.fullmatch("[a-z0-9]{16}", made.id)
    assert made.namespace.startswith("lapdev-shared-")
    assert made.manifests == tuple(shop())
    assert await store.environment("shop") == await store.environment(made.id) == made
    assert await store.environments() == await store.environments(cluster.id) == [made]
    assert await store.environments(ClusterId("other")) == []


async def test_an_id_wins_over_a_name_that_looks_like_it(store: Store, cluster: Cluster) -> None:
    first = await make(store, cluster)
    await make(store, cluster, name=first.id)
    assert await store.environment(first.id) == first


async def test_creating_makes_the_preview_urls_too(store: Store, cluster: Cluster) -> None:
    made = await make(store, cluster)
    (preview,) = await store.previews("shop")
    assert (preview.environment, preview.service, preview.port) == (made.id, "web", 8080)
    assert re.fullmatch("8080-web-[a-z0-9]{12}", preview.label)


async def test_a_taken_name_is_a_conflict_and_changes_nothing(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    before = await store.revision()
    with pytest.raises(Conflict, match="named shop already exists"):
        await make(store, cluster)
    assert await store.revision() == before


async def test_an_unknown_cluster_is_not_found(store: Store) -> None:
    new = NewEnvironment("shop", EnvironmentKind.SHARED, ClusterId("nowhere"))
    with pytest.raises(NotFound, match="no cluster 'nowhere'"):
        await store.create_environment(new)


async def test_a_branch_is_not_made_without_its_base(store: Store, cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="needs a base"):
        await store.create_environment(NewEnvironment("b", EnvironmentKind.BRANCH, cluster.id))


async def test_a_name_that_is_no_label_is_refused(store: Store, cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="not a DNS label"):
        await make(store, cluster, name="My Shop")


async def test_an_unknown_environment_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="'gone'"):
        await store.environment("gone")


# Branches


async def test_a_branch_lives_in_its_bases_namespace_under_an_id_of_its_own(
    store: Store, cluster: Cluster
) -> None:
    base = await make(store, cluster)
    branch = await store.create_branch("fix", "shop")
    assert branch.id != base.id
    assert (branch.base, branch.namespace, branch.cluster) == (base.id, base.namespace, cluster.id)
    assert branch.kind is EnvironmentKind.BRANCH
    assert branch.manifests == ()
    assert await store.branches(base.id) == [branch]


async def test_a_branch_gets_a_preview_url_for_each_of_its_base(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    await store.create_preview("shop", PreviewWish("api", 8080))
    await store.create_branch("fix", "shop")
    of_base, of_branch = await store.previews("shop"), await store.previews("fix")
    assert [(p.service, p.port) for p in of_branch] == [("api", 8080), ("web", 8080)]
    assert not {p.label for p in of_base} & {p.label for p in of_branch}


async def test_a_branch_of_a_branch_is_refused(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    await store.create_branch("fix", "shop")
    with pytest.raises(ConfigError, match="fix is a branch environment"):
        await store.create_branch("again", "fix")


async def test_a_personal_environment_has_no_branches(store: Store, cluster: Cluster) -> None:
    await store.create_environment(NewEnvironment("mine", EnvironmentKind.PERSONAL, cluster.id))
    with pytest.raises(ConfigError, match="mine is a personal environment"):
        await store.create_branch("fix", "mine")


# Generations


async def test_a_branchs_changes_stamp_branch_and_base_and_nobody_else(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    other = await make(store, cluster, name="other")
    generations = [(await store.environment("shop")).generation]
    for step in (
        store.create_branch("fix", "shop"),
        store.set_workloads("fix", [deployment("api", image="shop:2")]),
        store.change_workload("fix", "api", becomes(None)),
        store.mark_deleting("fix"),
    ):
        branch = await step
        base = await store.environment("shop")
        assert branch.generation == base.generation > generations[-1]
        generations.append(base.generation)
    await store.remove_environment((await store.environment("fix")).id)
    assert (await store.environment("shop")).generation > generations[-1]
    assert (await store.environment("other")).generation == other.generation


async def test_the_revision_grows_by_one_per_change(store: Store, cluster: Cluster) -> None:
    before = await store.revision()
    await make(store, cluster)
    await store.create_branch("fix", "shop")
    await store.create_preview("shop", PreviewWish("api", 8080))
    assert await store.revision() == before + 3


# Changed workloads


async def test_a_change_sees_the_branchs_own_version_and_the_bases_objects(
    store: Store, cluster: Cluster
) -> None:
    base = await make(store, cluster)
    await store.create_branch("fix", "shop")
    seen: list[tuple[Manifest | None, Sequence[Manifest]]] = []

    def change(own: Manifest | None, objects: Sequence[Manifest]) -> Manifest:
        seen.append((own, objects))
        return deployment("api", image=f"shop:{len(seen) + 1}")

    await store.change_workload("fix", "api", change)
    branch = await store.change_workload("fix", "api", change)
    assert seen == [(None, base.manifests), (deployment("api", image="shop:2"), base.manifests)]
    assert branch.manifests == (deployment("api", image="shop:3"),)


async def test_changes_of_two_workloads_at_the_same_time_both_count(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    await store.create_branch("fix", "shop")
    async with asyncio.TaskGroup() as group:
        for name in ("web", "api"):
            change = becomes(deployment(name, image="shop:2"))
            group.create_task(store.change_workload("fix", name, change))
    branch = await store.environment("fix")
    assert [m["metadata"]["name"] for m in branch.manifests] == ["api", "web"]


async def test_a_change_that_changes_nothing_keeps_the_generation(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    await store.create_branch("fix", "shop")
    changed = await store.change_workload("fix", "api", becomes(deployment("api")))
    again = await store.change_workload("fix", "api", becomes(deployment("api")))
    assert again == changed


async def test_a_change_that_raises_changes_nothing(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    branch = await store.create_branch("fix", "shop")

    def refuse(own: Manifest | None, base: Sequence[Manifest]) -> Manifest:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        await store.change_workload("fix", "api", refuse)
    assert await store.environment("fix") == branch


async def test_only_a_branch_changes_workloads(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    with pytest.raises(ConfigError, match="shop is a shared environment, not a branch"):
        await store.change_workload("shop", "api", becomes(deployment("api")))
    with pytest.raises(ConfigError, match="not a branch"):
        await store.set_workloads("shop", [])


# Deleting


async def test_a_shared_environment_with_branches_stays(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    await store.create_branch("search-fix", "shop")
    await store.create_branch("checkout", "shop")
    with pytest.raises(Conflict, match="shop has branches: checkout, search-fix"):
        await store.mark_deleting("shop")
    assert (await store.environment("shop")).status is EnvironmentStatus.PENDING


async def test_what_is_being_deleted_takes_no_change(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    await store.create_branch("fix", "shop")
    await store.mark_deleting("fix")
    with pytest.raises(Conflict, match="fix is being deleted"):
        await store.change_workload("fix", "api", becomes(deployment("api")))


async def test_a_base_that_is_being_deleted_gets_no_new_branch(
    store: Store, cluster: Cluster
) -> None:
    await make(store, cluster)
    assert (await store.mark_deleting("shop")).status is EnvironmentStatus.DELETING
    with pytest.raises(Conflict, match="shop is being deleted"):
        await store.create_branch("fix", "shop")


async def test_marking_twice_is_one_change(store: Store, cluster: Cluster) -> None:
    await make(store, cluster)
    assert await store.mark_deleting("shop") == await store.mark_deleting("shop")


async def test_removing_takes_previews_along_and_is_idempotent(
    store: Store, cluster: Cluster
) -> None:
    made = await make(store, cluster)
    await store.remove_environment(made.id)
    await store.remove_environment(made.id)
    assert await store.environments() == []
    assert await store.previews() == []
