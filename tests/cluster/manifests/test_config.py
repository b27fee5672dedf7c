"""ConfigMaps and Secrets as written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigObject, Reference
from lapdev.cluster.manifests.config import ConfigKind, find_config, parse_config
from lapdev.errors import ConfigError


def parse(kind: ConfigKind, **fields: Any) -> dict[str, bytes]:
    found = parse_config({"kind": kind, "metadata": {"name": "x.y"}, **fields}, kind)
    assert (found.kind, found.name) == (kind, "x.y")
    return found.data


def test_a_config_map_has_text_and_bytes() -> None:
    data = parse("ConfigMap", data={"a": "ü", "empty": None}, binaryData={"b": "/w=="})
    assert data == {"a": "ü".encode(), "empty": b"", "b": b"\xff"}


def test_a_secret_is_base64_and_its_text_wins() -> None:
    data = parse("Secret", data={"a": "YQ==", "b": "Y\nQ==\n"}, stringData={"a": "plain"})
    assert data == {"a": b"plain", "b": b"a"}


@pytest.mark.parametrize("value", ["s3cret!", "czNjcmV0a", "s3cret\u00fc=="])
def test_bad_base64_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^Secret/x\.y: data\.a: is not base64") as caught:
        parse("Secret", data={"a": value})
    assert value[:5] not in caught.value.detail + caught.value.hint


@pytest.mark.parametrize(
    ("kind", "fields", "complaint"),
    [
        ("ConfigMap", {"data": {"a": 1}}, r"data\.a: is int, not a string"),
        ("ConfigMap", {"data": {"a/b": "1"}}, "'a/b' is not a key"),
        ("ConfigMap", {"data": {"..a": "1"}}, "'..a' is not a key"),
        ("ConfigMap", {"data": {"a": "1"}, "binaryData": {"a": ""}}, "a: is in data already"),
        ("Secret", {"data": ["a"]}, "data: is list"),
        ("Secret", {"metadata": {}}, r"metadata\.name: is nothing"),
        ("Secret", {"metadata": {"name": "../x"}}, "'../x' is not a name"),
    ],
)
def test_what_holds_nothing_is_refused(kind: ConfigKind, fields: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(kind, **fields)


def test_an_object_never_shows_what_it_holds() -> None:
    assert "s3cret" not in repr(ConfigObject("Secret", "x", {"a": b"s3cret"}))


def test_an_optional_reference_gives_what_there_is() -> None:
    found = ConfigObject("Secret", "x", {"a": b"1"})
    configs: Any = {("Secret", "x"): found}
    assert find_config(Reference("w", "Secret", "x", ("b",), optional=True), configs) is found
    assert find_config(Reference("w", "Secret", "y", optional=True), configs) is None
