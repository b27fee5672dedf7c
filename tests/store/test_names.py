"""Ids, labels and the rule for names."""

import re

import pytest

from lapdev.errors import ConfigError
from lapdev.model import EnvironmentKind
from lapdev.store.names import (
    check_name,
    named_label,
    new_id,
    new_namespace,
    preview_label,
    random_text,
)

SUFFIX = "k3v9x0a1b2c3"


def test_an_id_has_sixteen_characters_of_the_alphabet() -> None:
    assert re.fullmatch(r"[a-z0-9]{16}", new_id())
    assert len({new_id() for _ in range(1000)}) == 1000


def test_every_character_of_the_alphabet_occurs() -> None:
    assert set(random_text(4000)) == set("abcdefghijklmnopqrstuvwxyz0123456789")


@pytest.mark.parametrize("kind", [EnvironmentKind.SHARED, EnvironmentKind.PERSONAL])
def test_a_namespace_names_its_kind_and_is_a_dns_label(kind: EnvironmentKind) -> None:
    namespace = new_namespace(kind)
    assert re.fullmatch(rf"lapdev-{kind.value}-[a-z0-9]{{12}}", namespace)
    assert check_name("namespace", namespace) == namespace


@pytest.mark.parametrize("name", ["a", "0", "shop", "checkout-v2", "a--b", "a" * 63])
def test_a_dns_label_is_a_name(name: str) -> None:
    assert check_name("environment name", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a\n", "a" * 64, "a/b", "\ud800", "a\x00"],
)
def test_anything_else_is_refused_by_name_with_a_remedy(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name("environment name", name)
    assert caught.value.detail.startswith("environment name '")
    assert "a-z" in caught.value.hint
    caught.value.detail.encode()  # printable, whatever the name was


def test_a_short_service_stands_whole_in_its_label() -> None:
    assert preview_label(8080, "web", SUFFIX) == f"8080-web-{SUFFIX}"


def test_the_longest_service_that_fits_is_not_cut() -> None:
    label = preview_label(65535, "s" * 44, SUFFIX)
    assert label == f"65535-{'s' * 44}-{SUFFIX}"
    assert len(label) == 63


def test_a_longer_service_is_cut_and_gets_a_hash_of_the_whole() -> None:
    first = preview_label(65535, "s" * 44 + "a", SUFFIX)
    second = preview_label(65535, "s" * 44 + "b", SUFFIX)
    assert len(first) == len(second) == 63
    assert first != second
    assert first.startswith(f"65535-{'s' * 37}-")


def test_a_short_port_leaves_more_room_for_the_service() -> None:
    assert preview_label(80, "s" * 47, SUFFIX) == f"80-{'s' * 47}-{SUFFIX}"


@pytest.mark.parametrize("port", [1, 443, 65535])
def test_every_label_is_a_dns_label(port: int) -> None:
    for length in range(30, 64):
        for service in ("a" * length, ("ab-" * 21)[: length - 1] + "z"):
            check_name("label", preview_label(port, service, SUFFIX))


def test_a_named_label_begins_with_the_name_cut_where_it_is_too_long() -> None:
    assert named_label("pages", SUFFIX) == f"pages-{SUFFIX}"
    assert named_label("s" * 50, SUFFIX) == f"{'s' * 50}-{SUFFIX}"
    first, second = named_label("s" * 63, SUFFIX), named_label("s" * 62 + "t", SUFFIX)
    assert len(first) == len(second) == 63
    assert first != second
    check_name("label", first)
