"""Durations, sizes and CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lapdev.cluster.compose.quantities import cores, seconds, size, whole_seconds
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError


def at(value: object) -> Value:
    return Value(value, ("x",), {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1m30s", 90), ("1.5s", 1.5), ("100ms", 0.1), ("2h", 7200), ("0", 0), ("0s", 0), (None, 7)],
)
def test_durations_are_seconds(text: str | None, expected: float) -> None:
    assert seconds(at(text), 7) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512m", 2**29),
        ("1g", 2**30),
        ("1GB", 2**30),
        ("1.5k", 1536),
        (100, 100),
        (None, None),
        ("2 MiB", 2**21),
        ("3b", 3),
    ],
)
def test_sizes_are_bytes(text: object, expected: int | None) -> None:
    assert size(at(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("0.5", "500m"), (2, "2000m"), (0.0001, "1m"), (0, ""), (None, "")]
)
def test_cpus_are_thousandths(text: object, expected: str) -> None:
    assert cores(at(text)) == expected


def test_a_manifest_has_whole_seconds_and_at_least_one() -> None:
    assert [whole_seconds(n) for n in (0, 0.2, 1, 1.2)] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (lambda v: seconds(v, 0), "5"),
        (lambda v: seconds(v, 0), "1x"),
        (lambda v: seconds(v, 0), "9" * 400 + "h"),
        (size, "1 quintal"),
        (size, "9" * 400 + "g"),
        (cores, "many"),
        (cores, "-1"),
    ],
)
def test_what_is_none_of_them_is_refused(read: Callable[[Value], Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(at(text))
    assert caught.value.hint
