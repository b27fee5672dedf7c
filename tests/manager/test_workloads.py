"""Names and selectors."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.cluster.manifests import parse_workload
from lapdev.manager.workloads import (
    Workload,
    labelled,
    read_objects,
    suffixed,
)
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


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"containers": [{"name": "main"}]},
}
ONCE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
SPECS: list[tuple[str, dict[str, Any], str]] = [
    ("Deployment", {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}, "on"),
    ("StatefulSet", {"serviceName": "x", "template": TEMPLATE}, "on"),
    ("DaemonSet", {"template": TEMPLATE}, "on"),
    ("Job", {"template": ONCE}, "once"),
    ("CronJob", {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ONCE}}}, "once"),
    ("Pod", TEMPLATE["spec"], "on"),
]


def of_kind(kind: str, spec: dict[str, Any]) -> Workload:
    metadata: dict[str, Any] = {"name": "x", "annotations": {"lapdev.dev/update": "in-place"}}
    if kind == "Pod":
        metadata["labels"] = {"app": "x"}
    (found,) = read_objects(
        base({"kind": kind, "metadata": metadata, "spec": spec}).environment
    ).workloads
    return found


@pytest.mark.parametrize(("kind", "spec", "runs"), SPECS, ids=[row[0] for row in SPECS])
def test_pods_of_every_kind_are_marked_where_its_template_is(
    kind: str, spec: dict[str, Any], runs: str
) -> None:
    workload = of_kind(kind, spec)
    written = copy.deepcopy(workload.manifest)
    marked = labelled(workload, "x-1", EnvironmentId("e1"), {"more": "yes"})
    facts = parse_workload(marked)
    assert (facts.name, facts.kind) == ("x-1", kind)
    assert facts.pod.labels == {
        "app": "x",
        "lapdev.dev/environment": "e1",
        "lapdev.dev/workload": "x-1",
        "lapdev.dev/runs": runs,
        "more": "yes",
    }
    assert marked["metadata"]["annotations"] == {"lapdev.dev/update": "in-place"}
    assert facts.pod.containers == tuple(
        dataclasses.replace(c, where=c.where.replace("/x:", "/x-1:"))
        for c in workload.facts.pod.containers
    )
    assert workload.manifest == written, "what the cloud sent is not changed"


def test_selectors_ask_for_the_marks_where_a_kind_has_one() -> None:
    marks = {"lapdev.dev/environment": "e1", "lapdev.dev/workload": "x-1"}
    for kind, spec, runs in SPECS:
        marked = labelled(of_kind(kind, spec), "x-1", EnvironmentId("e1"))
        selector = marked["spec"].get("selector")
        if runs == "once" or kind == "Pod":
            assert selector is None
        else:
            assert marks.items() <= selector["matchLabels"].items()
    manual = of_kind("Job", {"selector": {"matchLabels": {"app": "x"}}, "template": ONCE})
    marked = labelled(manual, "x-1", EnvironmentId("e1"))
    assert marked["spec"]["selector"]["matchLabels"] == {"app": "x"} | marks


def test_objects_that_run_no_pods_and_empty_documents_are_skipped() -> None:
    environment = base(deployment("api"), service("api", (80, 80)), None).environment  # type: ignore[arg-type]
    (workload,) = read_objects(environment).workloads
    assert workload.name == "api"
    assert workload.manifest["kind"] == "Deployment"


def test_marking_keeps_what_a_manifest_says_otherwise() -> None:
    (workload,) = read_objects(base(deployment("api", ports={"http": 80})).environment).workloads
    marked = labelled(workload, "api-1", EnvironmentId("e1"))
    assert marked["spec"]["template"]["spec"] == workload.manifest["spec"]["template"]["spec"]
    assert marked["metadata"] == {"name": "api-1"}
    assert workload.manifest["metadata"] == {"name": "api"}
