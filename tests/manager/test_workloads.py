"""Names and selectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lapdev.manager.workloads import labelled, read_workloads, selects, suffixed
from lapdev.model import EnvironmentId
from tests.support.wishes import base, deployment, service

names = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(names, names)
def test_a_suffixed_name_is_a_label_and_tells_its_seed(name: str, seed: str) -> None:
    found = suffixed(name, seed)
    assert len(found) <= 63
    assert found == suffixed(name, seed)
    assert found != suffixed(name, seed, "more")
    assert "--" not in found or "--" in name
    head, _, tail = found.rpartition("-")
    assert name.startswith(head)
    assert len(tail) == 10


def test_a_selector_selects_pods_with_all_its_labels() -> None:
    labels = {"app": "api", "tier": "back"}
    assert selects({"app": "api"}, labels)
    assert selects(labels, labels)
    assert not selects({"app": "web"}, labels)
    assert not selects({"app": "api", "track": "canary"}, labels)


def test_an_empty_selector_selects_nothing() -> None:
    assert not selects({}, {"app": "api"})


def test_only_deployments_are_workloads_and_empty_documents_are_skipped() -> None:
    environment = base(deployment("api"), service("api", (80, 80)), None).environment  # type: ignore[arg-type]
    (workload,) = read_workloads(environment)
    assert workload.name == "api"
    assert workload.manifest["kind"] == "Deployment"


def test_marking_keeps_what_a_manifest_says_otherwise() -> None:
    manifest = deployment("api", ports={"http": 80})
    marked = labelled(manifest, "api-1", EnvironmentId("e1"))
    assert marked["spec"]["template"]["spec"] == manifest["spec"]["template"]["spec"]
    assert marked["metadata"] == {"name": "api-1"}
    assert manifest["metadata"] == {"name": "api"}
