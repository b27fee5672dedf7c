"""Values that know where they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lapdev.cluster.compose.values import Value, dns_label, scalar_text
from lapdev.cluster.manifests.known_fields import nearest
from lapdev.errors import ConfigError


def at(value: object) -> Value:
    return Value(value, ("services", "web", "x"), {("services", "web"): "c.yaml:3"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Web_1", "web-1"), ("--a--", "a"), ("ü", ""), ("a" * 80, "a" * 63), ("a.b", "a-b")],
)
def test_names_become_dns_labels(text: str, expected: str) -> None:
    assert dns_label(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, "true"), (1.0, "1"), (1.5, "1.5"), (5, "5"), ("x", "x")]
)
def test_scalars_become_text_as_compose_writes_them(value: object, expected: str) -> None:
    assert scalar_text(value) == expected


def test_a_complaint_names_the_nearest_known_place_and_the_path() -> None:
    with pytest.raises(ConfigError, match=r"^c\.yaml:3: services\.web\.x\[1\]: bad$"):
        at([1, 2]).items()[1].fail("bad", "mend")
    assert Value(1, (), {}).where == ""
    assert Value(1, (), {(): "c.yaml:1"}).where == "c.yaml:1"


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (Value.boolean, "yes", True),
        (Value.boolean, "0", False),
        (Value.boolean, None, False),
        (Value.text, 5, "5"),
        (lambda v: v.text("d"), None, "d"),
        (lambda v: v.integer(1, 9), "7", 7),
        (lambda v: v.integer(1, 9, default=3), None, 3),
        (Value.texts, "one", ("one",)),
        (Value.texts, ["a", 1], ("a", "1")),
        (Value.texts, None, ()),
        (Value.items, None, []),
        (Value.members, None, []),
        (lambda v: v.child("a").value, None, None),
        (Value.label, "A b", "a-b"),
    ],
)
def test_interpolated_text_stands_for_other_scalars(
    read: Callable[[Value], Any], value: object, expected: object
) -> None:
    assert read(at(value)) == expected


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (Value.boolean, "maybe", "is text, not true or false"),
        (Value.boolean, [], "is a list, not true or false"),
        (Value.text, None, "is nothing, not text"),
        (Value.text, {}, "is a mapping, not text"),
        (Value.text, "a\0", "NUL"),
        (lambda v: v.integer(1, 9), True, "is a boolean, not a whole number"),
        (lambda v: v.integer(1, 9), "1.5", "is text, not a whole number"),
        (lambda v: v.integer(1, 9), 10, "is 10"),
        (lambda v: v.integer(1, 9), "9" * 5000, "not a whole number"),
        (Value.items, 5, "is a number, not a list"),
        (Value.members, "x", "is text, not a mapping"),
        (lambda v: v.child("a"), [], "is a list, not a mapping"),
        (Value.label, "--", "neither letter nor digit"),
        (lambda v: v.only(("command",)), {"comand": 1}, "no such key"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(
    read: Callable[[Value], Any], value: object, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read(at(value))
    assert caught.value.hint


def test_extensions_are_always_allowed() -> None:
    at({"x-anything": 1, "a": 2}).only(("a",))


def test_an_unknown_key_is_told_what_is_known() -> None:
    with pytest.raises(ConfigError) as caught:
        at({"zzz": 1}).only(("a", "b"))
    assert caught.value.hint == "known: a, b"
    assert nearest("comand", ["command", "x"]) == "command"
    assert nearest("zzz", ["command"]) == ""
