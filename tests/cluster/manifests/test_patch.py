"""A branch's changes to a production manifest."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lapdev.cluster.manifests import WorkloadKind, merge_patch, pod_template_of
from lapdev.errors import ConfigError
from tests.cluster.manifests import everything, test_deployment

MANIFEST = test_deployment.manifest(
    {
        "image": "web:1",
        "command": ["a"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    }
)


def merged(change: dict[str, Any], manifest: dict[str, Any] = MANIFEST) -> dict[str, Any]:
    template: dict[str, Any] = merge_patch(manifest, {"web": change})["spec"]["template"]
    return template


def test_the_given_manifest_stays_as_it_is() -> None:
    before = copy.deepcopy(MANIFEST)
    merged({"image": "web:2", "env": {"A": None}})
    assert before == MANIFEST


def test_production_variables_stay_and_changes_are_laid_over_them() -> None:
    template = merged({"image": "web:2", "env": {"A": "9", "C": "3", "B": None}})
    (web,) = template["spec"]["containers"]
    assert web["image"] == "web:2"
    assert web["command"] == ["a"]
    assert web["env"] == [{"name": "A", "value": "9"}, {"name": "C", "value": "3"}]


def test_variables_may_come_in_the_list_form() -> None:
    source = {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert merged({"env": [source]})["spec"]["containers"][0]["env"][0] == source


def test_a_changed_command_wins_over_an_annotated_one() -> None:
    manifest = copy.deepcopy(MANIFEST)
    annotations = {
        "local.lapdev.dev/command.web": "x",
        "local.lapdev.dev/command": "y",
        "note": "n",
    }
    manifest["spec"]["template"]["metadata"]["annotations"] = annotations
    template = merged({"args": ["-v"], "annotations": {"more": "m"}}, manifest)
    assert template["metadata"]["annotations"] == {"note": "n", "more": "m"}
    assert template["spec"]["containers"][0]["args"] == ["-v"]


def test_an_annotated_command_given_with_the_change_stays() -> None:
    change = {"command": ["b"], "annotations": {"local.lapdev.dev/command.web": "c"}}
    assert merged(change)["metadata"]["annotations"]["local.lapdev.dev/command.web"] == "c"


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_workloads_of_every_kind_can_be_changed(kind: WorkloadKind) -> None:
    (manifest,) = [item for item in everything.objects() if item["kind"] == kind]
    change = {"image": "new", "env": {"PLAIN": None, "MORE": "1"}, "annotations": {"a": "b"}}
    merged = merge_patch(manifest, {"web": change, "migrate": {"args": ["up"]}})
    template = pod_template_of(merged)
    assert template["metadata"]["annotations"] == {"note": "n", "a": "b"}
    assert template["spec"]["initContainers"][0]["args"] == ["up"]
    web = template["spec"]["containers"][0]
    assert (web["image"], web["env"][-1]) == ("new", {"name": "MORE", "value": "1"})
    assert "PLAIN" not in {variable["name"] for variable in web["env"]}


def test_null_metadata_takes_annotations() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["spec"]["template"]["metadata"] = None
    change = {"annotations": {"a": "b"}}
    assert merged(change, manifest)["metadata"] == {"annotations": {"a": "b"}}


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ([], "patch of Deployment/api: is list, not a mapping"),
        ({"db": {}}, r"patch of Deployment/api: db: there is no such container"),
        ({"web": "x"}, "web: is str, not a mapping"),
        ({"web": {"ports": []}}, r"web\.ports: cannot be changed"),
        ({"web": {"env": {"A": 1}}}, r"web\.env\.A: is int, not a string"),
        ({"web": {"image": 1}}, "image: is int"),
        ({"web": {"annotations": ["x"]}}, "annotations: is list, not a mapping"),
        ({"web": {"env": [["A"]]}}, r"env\[0\]: is list, not a mapping"),
        ({1: {}}, "has the key 1, not a string"),
    ],
)
def test_a_patch_that_fits_nothing_is_refused(patch: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        merge_patch(MANIFEST, patch)
