"""Values that know where they stand."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests.node import Node, object_node
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
