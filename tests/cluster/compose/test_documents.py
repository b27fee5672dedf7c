"""YAML as Compose reads it: 1.2's core schema, lines, anchors, tags, and an end to everything."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from lapdev.cluster.compose.documents import RESET, Override, read_document
from lapdev.errors import ConfigError


def value(text: str) -> Any:
    return read_document(dedent(text), "c.yaml").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 22:22", "22:22"),
        ("a: on", "on"),
        ("a: no", "no"),
        ("a: true", True),
        ("a: False", False),
        ("a: 0440", 0o440),
        ("a: 0o17", 15),
        ("a: 0x1F", 31),
        ("a: -3", -3),
        ("a: 08", "08"),
        ("a: 1.50", 1.5),
        ("a: 1e3", 1000.0),
        ("a: 2020-01-01", "2020-01-01"),
        ("a: ~", None),
        ("a:", None),
        ("a: !!str 5", "5"),
        ("a: '5'", "5"),
        ("a: 1_000", "1_000"),
        ("a: !!float x", "x"),
        ("a: !!int x", "x"),
        ("a: =", "="),
        ("a: " + "9" * 5000, "9" * 5000),
    ],
)
def test_plain_values_are_read_as_compose_reads_them(text: str, expected: object) -> None:
    found = value(text)["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_keys_are_text_even_where_they_look_like_numbers() -> None:
    assert value("on: 1\n80: x\n") == {"on": 1, "80": "x"}


def test_anchors_are_merged_and_what_is_written_out_wins() -> None:
    found = value(
        """
        one: &one {a: 1, b: 1}
        two: &two {b: 2, c: 2}
        both:
          <<: [*one, *two]
          a: 0
        """
    )
    assert found["both"] == {"a": 0, "b": 1, "c": 2}


def test_tags_say_how_a_later_file_changes_an_earlier() -> None:
    found = value("a: !reset null\nb: !override [1]\nc: !override 5\n")
    assert found["a"] is RESET
    assert found["b"] == Override([1])
    assert found["c"] == Override("5")


def test_every_value_knows_its_line() -> None:
    document = read_document("a:\n  b:\n    - x\n    - y\n", "c.yaml")
    assert document.places["a", "b", 1] == "c.yaml:4"
    assert document.places["a", "b"] == "c.yaml:3"
    assert document.places[()] == "c.yaml:1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", r"c\.yaml:2: the key 'a' is there twice"),
        ("? [a]\n: 1", r"c\.yaml:1: a key is not text"),
        ("true: 1", "a key is not text"),
        ("a: !unknown 1", "the tag !unknown is unknown"),
        ("a: !!binary aGk=", "a binary is not text"),
        ("a: {<<: 1}", "<< merges what is not a mapping"),
        ("a: [", r"c\.yaml:1: "),
        ("a: *b", "undefined alias"),
        ("a: \x07", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("a: 1\n---\nb: 1", "holds 2 YAML documents"),
        ("", "holds 0 YAML documents"),
    ],
)
def test_a_mistake_is_told_by_file_and_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        value(text)
    assert caught.value.hint


def test_a_value_inside_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds more than"):
        value("a: &a [*a]")
    with pytest.raises(ConfigError, match="holds more than"):
        value("a: &a {<<: *a}")


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_that_multiply_are_refused_in_time(form: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} " + form.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 20)]
    with pytest.raises(ConfigError, match="holds more than"):
        value("\n".join(lines))
