"""Ports in every way they can be written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.ports import exposed_ports, published_ports
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError


def at(value: Any) -> Value:
    return Value(value, ("ports",), {})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("80", [(80, 0)]),
        (80, [(80, 0)]),
        ("8080:80", [(80, 8080)]),
        ("127.0.0.1:8080:80", [(80, 8080)]),
        ("127.0.0.1::80", [(80, 0)]),
        ("[::1]:8080:80", [(80, 8080)]),
        ("localhost:8080:80/tcp", [(80, 8080)]),
        ("3000-3001", [(3000, 0), (3001, 0)]),
        ("9000-9001:80-81", [(80, 9000), (81, 9001)]),
        ("9000-9010:80", [(80, 9000)]),
        (":80", [(80, 0)]),
        ({"target": 80}, [(80, 0)]),
        ({"target": "80", "published": "8080", "protocol": "tcp", "mode": "host"}, [(80, 8080)]),
        ({"target": 80, "published": "0"}, [(80, 0)]),
    ],
)
def test_published_ports(written: Any, expected: list[tuple[int, int]]) -> None:
    found = published_ports(at([written]), lambda _: None)
    assert [(port.number, port.published) for port in found] == expected
    assert all(port.is_published for port in found)


def test_udp_is_told_and_left_out() -> None:
    notes: list[str] = []
    written = ["53:53/udp", {"target": 54, "protocol": "udp"}]
    assert published_ports(at(written), notes.append) == []
    assert len(notes) == 2
    assert [port.number for port in exposed_ports(at(["1", 2, "3/udp", "4-5"]))] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    "written",
    [
        *("", "x", "0", "70000", "80:", "1:2:3:4", "80/", "81-80", "1-500", "1-2:1-3", "1-3:4-5"),
        *(True, {"published": 80}, {"target": []}, {"target": 80, "port": 1}),
        {"target": 1, "published": "x"},
    ],
)
def test_what_is_no_port_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        published_ports(at([written]), lambda _: None)
    assert caught.value.hint
