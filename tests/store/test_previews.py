"""Preview URLs: one per wish, with a label, or a TCP port, that stays."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import Cluster, EnvironmentKind, PathRoute, PreviewUrl
from lapdev.store import NewEnvironment, PreviewWish, Store

WEB = PreviewWish("web", 8080)
DB = PreviewWish("db", 5432, tcp=True)
PAGES = PreviewWish("web", 8080, "pages", (PathRoute("/", "web", 8080),))
OFFERED = frozenset({("web", 8080), ("web", 8081), ("db", 5432), ("s" * 63, 65535)})


def lowest(taken: Collection[int]) -> int:
    free = [port for port in (20_000, 20_001) if port not in taken]
    if not free:
        raise Conflict("no TCP port is free")
    return free[0]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path}/lapdev.db", lowest)
    try:
        yield opened
    finally:
        await opened.aclose()


@pytest.fixture(autouse=True)
async def shop(store: Store, cluster: Cluster) -> NewEnvironment:
    new = NewEnvironment("shop", EnvironmentKind.SHARED, cluster.id, (), (), OFFERED)
    await store.create_environment(new)
    return new


async def put(store: Store, new: NewEnvironment, *wishes: PreviewWish) -> list[PreviewUrl]:
    """The environment's previews, once its manifests ask for exactly these."""
    await store.put_environment(dataclasses.replace(new, previews=wishes))
    return await store.previews(new.name)


async def test_a_label_leads_to_its_preview(store: Store) -> None:
    made, new = await store.create_preview("shop", WEB)
    assert new
    assert await store.preview_by_label(made.label) == made
    assert await store.preview_by_label(made.label.upper()) is None
    assert await store.preview_by_label("8080-web-000000000000") is None


async def test_a_service_port_has_one_preview_and_asking_again_gives_it(store: Store) -> None:
    made, _ = await store.create_preview("shop", WEB)
    before = await store.revision()
    assert await store.create_preview("shop", WEB) == (made, False)
    assert await store.revision() == before
    await store.create_preview("shop", PreviewWish("web", 8081))
    assert [p.port for p in await store.previews("shop")] == [8080, 8081]


async def test_a_long_service_name_still_makes_one_label(store: Store) -> None:
    made, _ = await store.create_preview("shop", PreviewWish("s" * 63, 65535))
    assert len(made.label) == 63
    assert made.service == "s" * 63


async def test_previews_of_an_unknown_environment_are_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.previews("gone")
    with pytest.raises(NotFound):
        await store.create_preview("gone", WEB)


async def test_a_removed_preview_is_gone_and_not_found_again(store: Store) -> None:
    made, _ = await store.create_preview("shop", WEB)
    assert await store.remove_preview(made.label) == made
    assert await store.previews() == []
    with pytest.raises(NotFound, match="no preview '8080-web-"):
        await store.remove_preview(made.label)


async def test_an_environment_that_is_being_deleted_gets_no_preview(store: Store) -> None:
    await store.mark_deleting("shop")
    with pytest.raises(Conflict, match="being deleted"):
        await store.create_preview("shop", WEB)


# Following manifests


async def test_previews_come_and_go_with_what_asks_for_them(
    store: Store, shop: NewEnvironment
) -> None:
    (first,) = await put(store, shop, WEB)
    assert await put(store, shop, WEB) == [first]
    assert len(await put(store, shop, WEB, PAGES)) == 2
    assert await put(store, shop, WEB) == [first], "the label that stays never changes"
    assert await put(store, shop) == []


async def test_a_named_preview_keeps_its_label_when_its_paths_lead_elsewhere(
    store: Store, shop: NewEnvironment
) -> None:
    (before,) = await put(store, shop, PAGES)
    assert re.fullmatch("pages-[a-z0-9]{12}", before.label)
    routes = (PathRoute("/api", "db", 5432, exact=True), PathRoute("/", "web", 8081))
    (after,) = await put(store, shop, PreviewWish("db", 5432, "pages", routes))
    assert after == dataclasses.replace(before, service="db", port=5432, routes=routes)


async def test_what_a_person_asked_for_stays_while_its_service_port_is_there(
    store: Store, shop: NewEnvironment
) -> None:
    made, _ = await store.create_preview("shop", WEB)
    assert await put(store, shop, WEB) == [made], "one, whoever asked for it"
    assert await put(store, shop) == [made]
    without = dataclasses.replace(shop, offered=OFFERED - {("web", 8080)})
    assert await put(store, without) == []


async def test_asking_for_a_preview_that_a_mark_made_keeps_it(
    store: Store, shop: NewEnvironment
) -> None:
    (made,) = await put(store, shop, WEB)
    assert await store.create_preview("shop", WEB) == (made, False)
    assert await put(store, shop) == [made]


async def test_its_time_is_what_was_said_last_and_goes_to_branches(
    store: Store, shop: NewEnvironment
) -> None:
    patient = dataclasses.replace(WEB, answer_timeout=0)
    made, _ = await store.create_preview("shop", patient)
    assert made.answer_timeout == 0
    assert (await store.create_preview("shop", WEB))[0].answer_timeout == 0, "nothing was said"
    assert (await put(store, shop, WEB))[0].answer_timeout == 0, "nor by the mark"
    hurried = dataclasses.replace(WEB, answer_timeout=7)
    assert await store.create_preview("shop", hurried) == (
        dataclasses.replace(made, answer_timeout=7),
        False,
    )
    assert (await put(store, shop, patient))[0].answer_timeout == 0
    await store.create_branch("fix", "shop")
    (copy,) = await store.previews("fix")
    assert copy.answer_timeout == 0


async def test_a_mark_that_goes_takes_its_time_with_it(store: Store, shop: NewEnvironment) -> None:
    marked = dataclasses.replace(WEB, answer_timeout=7)
    assert (await put(store, shop, marked))[0].answer_timeout == 7
    assert (await put(store, shop, WEB))[0].answer_timeout is None


async def test_branches_follow_their_base_with_labels_of_their_own(
    store: Store, shop: NewEnvironment
) -> None:
    await put(store, shop, WEB)
    branch = await store.create_branch("fix", "shop")
    (first,) = await store.previews("fix")
    await put(store, shop, WEB, PAGES, DB)
    of_branch = await store.previews("fix")
    assert first in of_branch
    assert sorted(p.name for p in of_branch) == ["", "pages"], "and none for TCP"
    assert {p.environment for p in of_branch} == {branch.id}
    assert not {p.label for p in of_branch} & {p.label for p in await store.previews("shop")}
    await put(store, shop)
    assert await store.previews("fix") == []


# Raw TCP


async def test_a_tcp_preview_keeps_its_port(store: Store, shop: NewEnvironment) -> None:
    (made,) = await put(store, shop, DB)
    assert (made.tcp_port, made.service, made.port) == (20_000, "db", 5432)
    assert await put(store, shop, DB) == [made]
    plain, _ = await store.create_preview("shop", PreviewWish("db", 5432))
    assert plain.tcp_port is None, "one service port may have both kinds"
    assert await put(store, shop) == [plain]
    assert {p.tcp_port for p in await put(store, shop, DB)} == {None, 20_000}


async def test_no_two_tcp_previews_have_one_port_and_a_full_range_changes_nothing(
    store: Store, shop: NewEnvironment, cluster: Cluster
) -> None:
    (first,) = await put(store, shop, DB)
    other = NewEnvironment("other", EnvironmentKind.PERSONAL, cluster.id, (), (DB,), OFFERED)
    await store.create_environment(other)
    (second,) = await store.previews("other")
    assert {first.tcp_port, second.tcp_port} == {20_000, 20_001}
    more = (DB, PreviewWish("web", 8080, tcp=True), WEB)
    with pytest.raises(Conflict, match="no TCP port is free"):
        await put(store, shop, *more)
    assert await store.previews("shop") == [first]


async def test_a_branch_has_no_tcp_preview_for_it_would_show_the_base(
    store: Store, shop: NewEnvironment
) -> None:
    await put(store, shop, DB)
    await store.create_branch("fix", "shop")
    assert await store.previews("fix") == []
    with pytest.raises(ConfigError, match="cannot say which branch") as caught:
        await store.create_preview("fix", DB)
    assert "base environment" in caught.value.hint


async def test_without_a_range_of_ports_a_tcp_preview_is_refused(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/other.db")
    try:
        cluster = await store.ensure_cluster("local", "a" * 64)
        new = NewEnvironment("shop", EnvironmentKind.SHARED, cluster.id, (), (DB,))
        with pytest.raises(ConfigError, match="not served here") as caught:
            await store.create_environment(new)
        assert "--tcp-previews" in caught.value.hint
        assert await store.environments() == []
    finally:
        await store.aclose()
