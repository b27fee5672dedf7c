"""All objects of an environment together."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError
from tests.cluster.manifests import test_deployment, test_service

DEPLOYMENT = test_deployment.manifest()
SERVICE = test_service.manifest({"port": 80})


def test_deployments_and_services_are_told_apart() -> None:
    manifests = parse_objects([DEPLOYMENT, SERVICE])
    assert [item.name for item in manifests.workloads] == ["api"]
    assert [item.name for item in manifests.services] == ["api"]


def test_lists_are_opened_and_empty_documents_ignored() -> None:
    inner = {"kind": "List", "items": [SERVICE]}
    documents: list[Any] = [None, {"kind": "List", "items": [DEPLOYMENT, inner]}]
    manifests = parse_objects(documents)
    assert len(manifests.workloads) == len(manifests.services) == 1


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"kind": "Widget", "metadata": {"name": "x"}}, "^Widget/x: this kind is not supported"),
        ({"metadata": {"name": "x"}}, "^object without kind/x: "),
        ({"kind": "Widget", "metadata": ["x"]}, r"^Widget/\?: "),
        ({"kind": ["Job"], "metadata": {"name": "x"}}, "^object without kind/x: "),
    ],
)
def test_an_unknown_kind_is_refused_with_what_is_supported(item: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse_objects([item])
    assert "Deployment, StatefulSet, " in caught.value.hint


def test_what_is_no_object_is_refused_by_its_place() -> None:
    with pytest.raises(ConfigError, match="object 2: is str, not a Kubernetes object"):
        parse_objects([SERVICE, "text"])  # type: ignore[list-item]


@pytest.mark.parametrize("item", [DEPLOYMENT, SERVICE])
def test_a_name_may_be_there_once(item: Any) -> None:
    with pytest.raises(ConfigError, match=f"{item['kind']}/api: is there twice"):
        parse_objects([item, item])


def test_what_means_nothing_here_is_accepted_and_listed() -> None:
    rule = {"kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    manifests = parse_objects([{"kind": "Namespace", "metadata": {"name": "shop"}}, rule, SERVICE])
    assert manifests.ignored == ("Namespace/shop", "NetworkPolicy/deny")
    assert [item.name for item in manifests.services] == ["api"]
