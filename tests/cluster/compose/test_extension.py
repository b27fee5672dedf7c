"""`x-lapdev` of a service."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.extension import read_extension
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError


def at(value: Any) -> Value:
    return Value(value, ("x-lapdev",), {})


def test_all_of_it() -> None:
    found = read_extension(
        at(
            {"command": "npm start", "one-time": True, "http": "3000", "tcp": [5432, "6379"]}
            | {"path": "/api/", "host": "My Shop"}
        )
    )
    assert found.command == ("npm", "start")
    assert (found.one_time, found.http, found.tcp) == (True, 3000, (5432, 6379))
    assert (found.path, found.host) == ("/api", "my-shop")
    assert found.routes


def test_no_preview_at_all_and_nothing_said() -> None:
    assert read_extension(at({"http": False})).http == 0
    assert not read_extension(at({"http": False})).routes
    assert read_extension(at(None)).http is None
    assert read_extension(at({"tcp": 5432})).tcp == (5432,)
    assert read_extension(at({"path": "/"})).path == "/"


@pytest.mark.parametrize(
    "value",
    [
        *("x", {"comand": "x"}, {"x-command": "x"}, {"http": True}, {"http": 70000}),
        *({"tcp": "x"}, {"path": "api"}, {"path": "/a b"}, {"host": "--"}, {"command": []}),
    ],
)
def test_a_mistake_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read_extension(at(value))
    assert caught.value.hint
