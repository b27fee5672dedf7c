"""Values that cross a wire become dataclasses, or an error that names the field."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.model import (
    BranchRoute,
    ClusterId,
    EnvironmentId,
    Protocol,
    ServicePort,
    SidecarPort,
)
from lapdev.wire.plain import from_plain, to_plain

CASES: list[Any] = [
    BranchRoute(EnvironmentId("b"), "n", {"web:80": "a:80", "web:8080": "a:81"}),
    ServicePort(80, 8080),
    ServicePort(80, "named", "http", Protocol.HTTP),
    SidecarPort(1, 2, 3, "api"),
]


@pytest.mark.parametrize("value", CASES)
def test_a_value_survives_json(value: Any) -> None:
    assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value


def test_a_value_without_a_dataclass_stays_itself() -> None:
    assert to_plain({"a": [1, None, ("x",)], 2: ClusterId("c")}) == {
        "a": [1, None, ["x"]],
        "2": "c",
    }


def route(ports: object) -> dict[str, Any]:
    return {"branch": "b", "name": "n", "ports": ports}


@pytest.mark.parametrize("ports", [{1: "a"}, {None: "a"}, {b"web:80": "a"}, {"web:80": 1}, [], "x"])
def test_a_map_with_wrong_keys_or_values_is_refused(ports: object) -> None:
    with pytest.raises(RemoteProtocolError, match=r"BranchRoute\.ports"):
        from_plain(BranchRoute, route(ports))


@dataclasses.dataclass(frozen=True)
class Inner:
    number: int
    flag: bool = False
    kind: Protocol | None = None


@dataclasses.dataclass(frozen=True)
class Outer:
    inners: tuple[Inner, ...]
    named: dict[str, Inner] = dataclasses.field(default_factory=dict)


WRONG: list[tuple[object, str]] = [
    (None, "Outer: a NoneType where a map belongs"),
    ({}, "Outer.inners is missing"),
    ({"inners": {}}, "Outer.inners: a dict where tuple"),
    ({"inners": [{"number": 1}, {}]}, "Outer.inners.number is missing"),
    ({"inners": [{"number": True}]}, "Outer.inners.number: a bool where <class 'int'> belongs"),
    ({"inners": [{"number": 1.0}]}, "Outer.inners.number: a float where"),
    ({"inners": [{"number": 1, "flag": 0}]}, "Outer.inners.flag: a int where"),
    ({"inners": [{"number": 1, "kind": "smtp"}]}, "Outer.inners.kind: a str fits no option"),
    ({"inners": [], "named": {"x": 3}}, "Outer.named: a int where a map belongs"),
    ({"inners": [], "named": {"x": {"number": "1"}}}, "Outer.named.number: a str where"),
]


@pytest.mark.parametrize(("value", "says"), WRONG)
def test_a_wrong_value_is_refused_with_the_fields_that_lead_to_it(value: object, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^{re.escape(says)}"):
        from_plain(Outer, value)


def test_a_class_read_before_and_after_a_refusal_is_read_alike() -> None:
    good = {"inners": [{"number": 1, "kind": "tcp", "new": "field"}], "named": {"x": {"number": 2}}}
    wanted = Outer((Inner(1, kind=Protocol.TCP),), {"x": Inner(2)})
    for _ in range(2):
        assert from_plain(Outer, good) == wanted
        with pytest.raises(RemoteProtocolError):
            from_plain(Outer, {"inners": 1})
