"""Values that cross a wire become dataclasses, or an error that names the field."""

from __future__ import annotations

import json
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
