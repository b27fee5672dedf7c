"""Clusters and their tokens."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import ClusterStatus
from lapdev.store import Store

ONE, TWO = "1" * 64, "2" * 64


async def test_a_cluster_is_made_once(store: Store) -> None:
    first = await store.ensure_cluster("local", ONE)
    assert await store.ensure_cluster("local", ONE) == first
    assert await store.clusters() == [first]
    assert first.status is ClusterStatus.PROVISIONING


async def test_a_new_token_takes_the_old_ones_place(store: Store) -> None:
    cluster = await store.ensure_cluster("local", ONE)
    assert await store.ensure_cluster("local", TWO) == cluster
    assert await store.cluster_by_token(ONE) is None
    assert await store.cluster_by_token(TWO) == cluster


async def test_two_clusters_cannot_share_a_token(store: Store) -> None:
    await store.ensure_cluster("one", ONE)
    with pytest.raises(Conflict):
        await store.ensure_cluster("two", ONE)
    assert [cluster.name for cluster in await store.clusters()] == ["one"]


async def test_a_cluster_is_found_by_name_and_by_id(store: Store) -> None:
    cluster = await store.ensure_cluster("local", ONE)
    assert await store.cluster("local") == await store.cluster(cluster.id) == cluster
    with pytest.raises(NotFound, match="'elsewhere'"):
        await store.cluster("elsewhere")


async def test_a_cluster_that_was_connected_is_no_longer_provisioning(store: Store) -> None:
    cluster = await store.ensure_cluster("local", ONE)
    await store.note_cluster_connected(cluster.id)
    await store.note_cluster_connected(cluster.id)
    assert (await store.cluster("local")).status is ClusterStatus.NOT_READY


async def test_a_clusters_name_is_a_dns_label(store: Store) -> None:
    with pytest.raises(ConfigError, match="cluster name 'Not A Label'"):
        await store.ensure_cluster("Not A Label", ONE)
