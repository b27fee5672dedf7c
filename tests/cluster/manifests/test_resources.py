"""Quantities and what a container may use."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lapdev.cluster.manifests import ResourceField, Resources
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.resources import (
    memory_bytes,
    parse_resource_field,
    parse_resources,
    quantity,
    resource_value,
)
from lapdev.errors import ConfigError


def node(value: Any) -> Node:
    return Node(value, "Pod/x: spec")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("100m", Fraction(1, 10)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        (2, 2),
        (0.25, Fraction(1, 4)),
        ("128Mi", 128 * 2**20),
        ("128M", 128 * 10**6),
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("1k", 1000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1e-3", Fraction(1, 1000)),
        ("250u", Fraction(250, 10**6)),
        ("+1", 1),
        ("9e99", 2**63 - 1),
        (1e16, 10**16),
    ],
)
def test_quantities_are_those_of_kubernetes(written: Any, wanted: Any) -> None:
    assert quantity(node(written)) == wanted


@pytest.mark.parametrize(
    "written",
    [
        *("", "m", "-1", "1 Mi", "1mi", "1KiB", "1e999999999", "1" * 40, "0x10", "1_000"),
        *("\u0661", float("nan"), float("inf"), 10**400, True, None, []),
    ],
)
def test_what_is_no_quantity_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"not a quantity|not a quantity \(") as caught:
        quantity(node(written))
    assert caught.value.hint


def test_bytes_are_whole_and_thousandths_are_a_mistake() -> None:
    assert memory_bytes(node("1500m")) == 2
    assert memory_bytes(node(0)) == 0
    with pytest.raises(ConfigError, match="m means thousandths"):
        memory_bytes(node("128m"))


def test_requests_default_to_the_limits() -> None:
    found = parse_resources(node({"limits": {"cpu": "500m", "memory": "1Gi", "x/gpu": 1}}))
    assert found == Resources(0.5, 2**30, 0.5, 2**30)
    assert parse_resources(node({"requests": {"cpu": 1}})) == Resources(cpu_request=1.0)
    assert parse_resources(node(None)) == Resources()


def test_more_may_not_be_asked_for_than_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"requests\.memory: is more than the limit"):
        parse_resources(node({"limits": {"memory": "1Mi"}, "requests": {"memory": "2Mi"}}))


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (ResourceField("limits.cpu", of=Resources(cpu_limit=0.25)), "1"),
        (ResourceField("limits.cpu", divisor="1m", of=Resources(cpu_limit=0.25)), "250"),
        (ResourceField("limits.cpu", divisor="1", of=Resources()), "4"),
        (ResourceField("requests.cpu", of=Resources(cpu_limit=2)), "0"),
        (ResourceField("limits.memory", divisor="1Mi", of=Resources(memory_limit=2**20 + 1)), "2"),
        (ResourceField("limits.memory", divisor="1Ki"), "8"),
        (ResourceField("requests.memory", of=Resources(memory_request=5)), "5"),
    ],
)
def test_a_field_is_told_in_its_unit_rounded_up(field: ResourceField, wanted: str) -> None:
    assert resource_value(field, 4.0, 8192) == wanted


def test_a_resource_field_is_read() -> None:
    field = parse_resource_field(node({"resource": "limits.memory", "divisor": "1Mi"}))
    assert field == ResourceField("limits.memory", "", "1Mi")
    for divisor in (0, "0", 1, "1", None):
        assert parse_resource_field(node({"resource": "limits.cpu", "divisor": divisor})) == (
            ResourceField("limits.cpu", "", "1")
        )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"resource": "limits.ephemeral-storage"}, "'limits.ephemeral-storage' is not supported"),
        ({"resource": "limits.cpu", "divisor": "1Mi"}, "divisor: is '1Mi'"),
        ({}, "resource: is nothing"),
    ],
)
def test_a_resource_that_is_not_told_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_resource_field(node(written))
