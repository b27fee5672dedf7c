"""Variables as written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigKey, EnvFrom, EnvVar, ResourceField
from lapdev.cluster.manifests.env_parts import parse_env, parse_env_from
from lapdev.cluster.manifests.node import Node
from lapdev.errors import ConfigError


def env(source: Any, **fields: Any) -> EnvVar:
    (variable,) = parse_env(Node([{"name": "A", "valueFrom": source, **fields}], "Pod/x: env"))
    return variable


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (None, EnvVar("A")),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, EnvVar("A", field_path="status.podIP")),
        (
            {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
            EnvVar("A", key=ConfigKey("Secret", "s", "k", optional=True)),
        ),
        (
            {"configMapKeyRef": {"name": "c", "key": ".k"}, "fieldRef": None},
            EnvVar("A", key=ConfigKey("ConfigMap", "c", ".k")),
        ),
        (
            {"resourceFieldRef": {"resource": "limits.cpu"}},
            EnvVar("A", resource=ResourceField("limits.cpu", "", "1")),
        ),
    ],
)
def test_values_come_from_everywhere(source: Any, wanted: EnvVar) -> None:
    assert env(source) == wanted


@pytest.mark.parametrize(
    ("source", "fields", "complaint"),
    [
        (
            {"fieldRef": {"fieldPath": "spec.nodeName"}},
            {"value": "v"},
            "A has both value and valueFrom",
        ),
        ({}, {}, "the value of A comes from nowhere"),
        ({"magic": {}}, {}, "the value of A comes from magic"),
        (
            {"fieldRef": {"fieldPath": "x"}, "secretKeyRef": {"name": "x", "key": "y"}},
            {},
            "has fieldRef and secretKeyRef",
        ),
        ({"secretKeyRef": {"name": "x"}}, {}, r"secretKeyRef\.key: is nothing"),
        ({"secretKeyRef": {"name": "x", "key": "../y"}}, {}, "'../y' is not a key"),
        ({"configMapKeyRef": {"key": "x"}}, {}, r"configMapKeyRef\.name: is nothing"),
        (None, {"name": "A=B"}, "'A=B' is not a variable's name"),
        (None, {"name": ""}, "'' is not a variable's name"),
        (None, {"name": "A\x1b[2J"}, "is not a variable's name"),
        (
            {"fieldRef": {"fieldPath": "status.phase"}},
            {},
            r"A refers to field 'status\.phase', which is not supported",
        ),
        ({"fieldRef": {"fieldPath": "metadata.labels"}}, {}, "A refers to field"),
        (None, {"value": "\0"}, "NUL"),
        (None, {"value": 80}, "value: is int, not a string"),
    ],
)
def test_what_makes_no_variable_is_refused(source: Any, fields: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        env(source, **fields)
    assert caught.value.hint


def test_whole_objects_are_read() -> None:
    written = [
        {"configMapRef": {"name": "c"}},
        {"secretRef": {"name": "s", "optional": True}, "prefix": "S_"},
    ]
    assert parse_env_from(Node(written, "Pod/x: envFrom")) == (
        EnvFrom("ConfigMap", "c"),
        EnvFrom("Secret", "s", "S_", optional=True),
    )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, r"envFrom\[0\]: names no source"),
        ({"configMapRef": {"name": "c"}, "secretRef": {"name": "s"}}, "has configMapRef and secr"),
        ({"secretRef": {"name": "S"}}, "'S' is not a name"),
        ({"secretRef": {"name": "s", "optional": "yes"}}, "is str, not true or false"),
    ],
)
def test_what_names_no_object_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_env_from(Node([written], "Pod/x: envFrom"))
