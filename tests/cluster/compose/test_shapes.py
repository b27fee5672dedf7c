"""Short forms become long ones, and keep their places."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.documents import RESET, Document, Override, read_document
from lapdev.cluster.compose.shapes import long_forms


def long(body: dict[str, Any]) -> Any:
    found = long_forms(Document({"services": {"web": body}}, {})).value
    return found["services"]["web"]


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ({"environment": ["A=1", "B"]}, {"environment": {"A": "1", "B": None}}),
        ({"sysctls": ["C=x=y"]}, {"sysctls": {"C": "x=y"}}),
        ({"labels": ["a.b=c"]}, {"labels": {"a.b": "c"}}),
        ({"depends_on": ["db"]}, {"depends_on": {"db": {"condition": "service_started"}}}),
        ({"networks": ["a"]}, {"networks": {"a": None}}),
        ({"build": "./x"}, {"build": {"context": "./x"}}),
        ({"build": {"args": ["A=1"]}}, {"build": {"args": {"A": "1"}}}),
        ({"env_file": ".env"}, {"env_file": [".env"]}),
        ({"tmpfs": "/run"}, {"tmpfs": ["/run"]}),
        ({"extends": "base"}, {"extends": {"service": "base"}}),
        ({"environment": Override(["A=1"])}, {"environment": Override({"A": "1"})}),
        ({"environment": RESET}, {"environment": RESET}),
        ({"environment": [{"A": 1}]}, {"environment": [{"A": 1}]}),
        ({"depends_on": [1]}, {"depends_on": [1]}),
        ({"build": 5}, {"build": 5}),
    ],
)  # fmt: skip
def test_short_forms(short: dict[str, Any], expected: dict[str, Any]) -> None:
    assert long(short) == expected


def test_what_is_no_project_stays_as_it_is() -> None:
    for value in ([], {"services": []}, {"services": {"web": 1}}):
        assert long_forms(Document(value, {})).value == value


def test_a_variable_keeps_its_line() -> None:
    text = "services:\n  web:\n    environment:\n      - A=1\n      - B=2\n    depends_on: [db]\n"
    places = long_forms(read_document(text, "f")).places
    assert places["services", "web", "environment", "B"] == "f:5"
    assert places["services", "web", "depends_on", "db"] == "f:6"
