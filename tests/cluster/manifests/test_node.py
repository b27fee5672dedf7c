"""Values that know where they stand."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests.node import Node, object_node, refuse_repeated
from lapdev.errors import ConfigError


def node(value: Any) -> Node:
    return object_node({"metadata": {"name": "api"}, "spec": value}, "Deployment").child("spec")


def test_a_complaint_names_object_and_path() -> None:
    with pytest.raises(ConfigError, match=r"^Deployment/api: spec\.a\[1\]\.b: is int, not a str"):
        node({"a": [{}, {"b": 1}]}).child("a").items()[1].child("b").text()


def test_an_object_without_a_name_is_still_named() -> None:
    assert object_node({"metadata": []}, "Service").where == "Service/?:"


def test_what_is_not_there_is_empty_or_the_default() -> None:
    missing = node(None).child("a").child("b")
    assert missing.items() == []
    assert missing.texts() == ()
    assert missing.text_map() == {}
    assert missing.text("x") == "x"
    assert missing.integer(0, 1, default=1) == 1


@pytest.mark.parametrize(
    ("value", "read", "complaint"),
    [
        ([], lambda n: n.child("a"), "is list, not a mapping"),
        ({}, lambda n: n.items(), "is dict, not a list"),
        (None, lambda n: n.text(), "is nothing, not a string"),
        ("1", lambda n: n.integer(0, 9), "is str, not a whole number"),
        (True, lambda n: n.integer(0, 9), "is bool, not a whole number"),
        (10, lambda n: n.integer(0, 9), "is 10"),
        ("x", lambda n: n.text_map(), "is str, not a mapping"),
        ({"a": 1}, lambda n: n.text_map(), r"spec\.a: is int, not a string"),
        ("Api", lambda n: n.dns_label(), "'Api' is not a name"),
        ("a" * 64, lambda n: n.dns_label(), "is not a name"),
        ("a-", lambda n: n.dns_label(), "is not a name"),
    ],
)
def test_a_wrong_value_is_named(value: Any, read: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read(node(value))
    assert caught.value.hint


def test_a_name_of_63_octets_is_a_name() -> None:
    assert node("a" * 63).dns_label() == "a" * 63


@pytest.mark.parametrize(
    ("value", "read", "complaint"),
    [
        ({1: "x"}, lambda n: n.mapping(), "has the key 1, not a string"),
        ({True: "x"}, lambda n: n.text_map(), "has the key True"),
        ("a\0", lambda n: n.text(), "contains a NUL byte"),
        ("\ud800", lambda n: n.text(), "half a surrogate pair"),
        (10**400, lambda n: n.integer(0, 9), "is too large a number"),
        (1.0, lambda n: n.integer(0, 9), "is float"),
        ("yes", lambda n: n.flag(), "is str, not true or false"),
        ("c", lambda n: n.choice(("a", "b"), "a"), "is 'c'"),
        ({"a": 1, "b": 2}, lambda n: n.one_of(("a", "b"), "source"), "has a and b"),
        ("a..b", lambda n: n.object_name(), "'a..b' is not a name"),
        ("a." * 127 + "b", lambda n: n.object_name(), "is not a name"),
        ("a\n", lambda n: n.dns_label(), "is not a name"),
        ("..x", lambda n: n.config_key(), "'..x' is not a key"),
        ("a/b", lambda n: n.config_key(), "is not a key"),
        ("a", lambda n: n.absolute_path(), "is not an absolute path"),
        ("/a/..", lambda n: n.absolute_path(), "leads outside"),
        ("/a", lambda n: n.relative_path(), "is an absolute path"),
        ("a/../b", lambda n: n.relative_path(), "leads outside"),
    ],
)
def test_what_is_out_of_bounds_is_named(value: Any, read: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read(node(value))
    assert caught.value.hint


@pytest.mark.parametrize("value", [80, True, 1.5])
def test_what_yaml_took_for_something_else_belongs_in_quotes(value: Any) -> None:
    with pytest.raises(ConfigError, match="not a string") as caught:
        node(value).text()
    assert "quotes" in caught.value.hint


def test_names_and_paths_are_read() -> None:
    assert node("a.b-c").object_name() == "a.b-c"
    assert node(".env_A-1").config_key() == ".env_A-1"
    assert node("//a/./b//").absolute_path() == "/a/b"
    assert node("./a//b/").relative_path() == "a/b"
    assert node(None).seconds() is None
    assert node(5).seconds() == 5.0
    assert (node(None).flag(), node(True).flag()) == (False, True)
    assert node({"a": None, "b": 1}).one_of(("a", "b"), "source") == "b"
    assert node({"a": None}).text_map() == {"a": ""}


def test_a_second_name_says_where_the_first_stands() -> None:
    items = node(["x", "y", "x"]).items()
    with pytest.raises(ConfigError, match=r"spec\[2\]: name 'x' is at spec\[0\] already"):
        refuse_repeated(((item, item.value) for item in items), "name")
