"""Exposures: the same key is the same name and port, and nobody else's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest

from lapdev.errors import ConfigError, Conflict
from lapdev.model import Exposure, ExposureId, ExposureKind
from lapdev.store import Store, exposures, names, no_tcp_ports

KEY, OTHER = "a" * 64, "b" * 64
HTTP = Exposure(ExposureId("web"), ExposureKind.HTTP, 0)
RAW = Exposure(ExposureId("db"), ExposureKind.TCP, 0)


def lowest(taken: Collection[int]) -> int:
    return next(port for port in range(20_000, 20_100) if port not in taken)


async def test_the_same_key_is_the_same_name_also_after_it_was_removed(store: Store) -> None:
    made = await store.keep_exposure(KEY, HTTP, no_tcp_ports)
    assert made.id.startswith("web-")
    assert len(made.id) == len("web-") + names.SUFFIX_LENGTH
    assert made.port is None
    assert await store.keep_exposure(KEY, HTTP, no_tcp_ports) == made
    assert await store.exposures() == [made]
    await store.remove_exposure(made.id)
    assert await store.exposures() == []
    assert await store.keep_exposure(KEY, HTTP, no_tcp_ports) == made


async def test_another_key_has_another_name(store: Store) -> None:
    first = await store.keep_exposure(KEY, HTTP, no_tcp_ports)
    second = await store.keep_exposure(OTHER, HTTP, no_tcp_ports)
    assert first.id != second.id


async def test_a_name_that_is_another_keys_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the hash in the name keeps keys apart: were it ever the same, the key would still."""
    monkeypatch.setattr(exposures, "derived_text", lambda secret, length: "x" * length)
    await store.keep_exposure(KEY, HTTP, no_tcp_ports)
    with pytest.raises(Conflict, match="belongs to another device"):
        await store.keep_exposure(OTHER, HTTP, no_tcp_ports)


async def test_a_name_says_nothing_about_its_key() -> None:
    text = names.derived_text(KEY, 12)
    assert len(text) == 12
    assert names.derived_text(OTHER, 12) != text
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789")


async def test_a_raw_one_keeps_its_port_until_another_is_asked_for(store: Store) -> None:
    made = await store.keep_exposure(KEY, RAW, lowest)
    assert made.port == 20_000
    assert (await store.keep_exposure(KEY, RAW, no_tcp_ports)).port == 20_000
    wanted = Exposure(RAW.id, RAW.kind, 20_005)
    assert (await store.keep_exposure(KEY, wanted, lambda taken: 20_005)).port == 20_005
    assert (await store.keep_exposure(KEY, wanted, no_tcp_ports)).port == 20_005


async def test_one_that_is_raw_no_more_has_no_port(store: Store) -> None:
    made = await store.keep_exposure(KEY, RAW, lowest)
    plain = await store.keep_exposure(KEY, Exposure(RAW.id, HTTP.kind), no_tcp_ports)
    assert plain == Exposure(made.id, HTTP.kind)
    assert await store.exposures() == [plain]


async def test_no_port_is_given_away_twice(store: Store) -> None:
    await store.keep_exposure(KEY, RAW, lowest)
    assert (await store.keep_exposure(OTHER, RAW, lowest)).port == 20_001


async def test_without_ports_a_raw_one_is_refused_and_not_kept(store: Store) -> None:
    with pytest.raises(ConfigError, match="not served here"):
        await store.keep_exposure(KEY, RAW, no_tcp_ports)
    assert await store.exposures() == []


@pytest.mark.parametrize("name", ["", "No", "a.b", "-a", "a" * 64])
async def test_a_name_that_is_no_dns_label_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a DNS label"):
        await store.keep_exposure(KEY, Exposure(ExposureId(name), HTTP.kind), no_tcp_ports)


async def test_a_long_name_still_fits_a_label(store: Store) -> None:
    made = await store.keep_exposure(KEY, Exposure(ExposureId("a" * 63), HTTP.kind), no_tcp_ports)
    assert len(made.id) == 63


async def test_what_was_not_heard_of_for_long_is_forgotten_unless_it_is_connected(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await store.keep_exposure(KEY, HTTP, no_tcp_ports)
    live = await store.keep_exposure(OTHER, HTTP, no_tcp_ports)
    assert await store.forget_exposures([]) == []
    monkeypatch.setattr(exposures, "KEPT", timedelta(seconds=-1))
    assert await store.forget_exposures([live.id]) == [old.id]
    assert await store.exposures() == [live]


async def test_there_are_only_so_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "MOST", 1)
    await store.keep_exposure(KEY, HTTP, no_tcp_ports)
    with pytest.raises(Conflict, match="1 exposures are announced"):
        await store.keep_exposure(OTHER, HTTP, no_tcp_ports)
    assert await store.keep_exposure(KEY, HTTP, no_tcp_ports)
