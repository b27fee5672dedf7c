"""Later files change earlier ones, as the Compose specification's chapter "Merge" has it."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.documents import RESET, Document, Override, read_document
from lapdev.cluster.compose.merging import merge, plain, subtree

HEALTH = {"healthcheck": {"test": ["a"]}}


def merged(earlier: Any, later: Any) -> Any:
    return plain(merge(Document(earlier, {}), Document(later, {})).value)


def web(body: dict[str, Any]) -> dict[str, Any]:
    return {"services": {"web": body}}


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ({"image": "a"}, {"image": "b"}, {"image": "b"}),
        ({"image": "a"}, {"user": "b"}, {"image": "a", "user": "b"}),
        ({"labels": {"A": "1"}}, {"labels": {"B": "2"}}, {"labels": {"A": "1", "B": "2"}}),
        ({"ports": ["1"]}, {"ports": ["2", "1"]}, {"ports": ["1", "2"]}),
        ({"command": ["a"]}, {"command": ["b"]}, {"command": ["b"]}),
        ({"entrypoint": ["a"]}, {"entrypoint": []}, {"entrypoint": []}),
        (HEALTH, {"healthcheck": {"test": ["b"]}}, {"healthcheck": {"test": ["b"]}}),
        ({"ports": ["1"]}, {"ports": RESET}, {}),
        ({"ports": ["1"]}, {"ports": Override(["2"])}, {"ports": ["2"]}),
        ({"ports": Override(["1"])}, {"ports": ["2"]}, {"ports": ["1", "2"]}),
        ({"ports": ["1"]}, {"ports": None}, {"ports": ["1"]}),
        ({"ports": None}, {"ports": ["1"]}, {"ports": ["1"]}),
        ({"image": "a"}, {"image": None}, {"image": None}),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}, {"a": {"b": {"c": 1, "d": 2}}}),
    ],
)  # fmt: skip
def test_mappings_are_merged_lists_appended_and_the_rest_replaced(
    earlier: dict[str, Any], later: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merged(web(earlier), web(later)) == web(expected)


def test_tags_that_found_nothing_to_change_are_gone() -> None:
    assert plain({"a": RESET, "b": [RESET, Override({"c": RESET})]}) == {"b": [{}]}
    assert plain(RESET) is None


def test_places_follow_their_values() -> None:
    earlier = read_document("a: {x: [1]}\nb: 1\n", "one")
    later = read_document("\na: {x: [2]}\nc: {d: 1}\n", "two")
    places = merge(earlier, later).places
    assert places["a", "x", 0] == "one:1"
    assert places["a", "x", 1] == "two:2"
    assert places["b",] == "one:2"
    assert places["c", "d"] == "two:3"


def test_a_part_can_stand_elsewhere() -> None:
    document = read_document("a:\n  b: 1\n", "f")
    found = subtree(document, ("a",), ("x", "y"))
    assert found.value == {"x": {"y": {"b": 1}}}
    assert found.places["x", "y", "b"] == "f:2"
