"""Containers start in the folder of their manifests unless they say where."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.client.working_dirs import folder_of, with_working_dirs
from tests.support.shop_manifests import deployment, service
from tests.support.wishes import as_kind


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"]
)
def test_every_kind_of_workload_starts_there(kind: str) -> None:
    made = deployment("web") if kind == "Deployment" else as_kind(deployment("web"), kind)
    (found,) = with_working_dirs([made], Path("/project"))
    assert found != made
    assert str(found).count("'workingDir': '/project'") == 1
    assert "workingDir" not in str(made), "what was read stays as it was"


def test_one_that_says_where_starts_where_it_says() -> None:
    made = deployment("web")
    containers = made["spec"]["template"]["spec"]["containers"]
    containers[0]["workingDir"] = "/srv"
    containers.append({"name": "other"})
    made["spec"]["template"]["spec"]["initContainers"] = [{"name": "first"}]
    (found,) = with_working_dirs([made], Path("/project"))
    pod = found["spec"]["template"]["spec"]
    assert [c["workingDir"] for c in pod["containers"]] == ["/srv", "/project"]
    assert pod["initContainers"][0]["workingDir"] == "/project"


@pytest.mark.parametrize(
    "item",
    [
        service("web", {"port": 80}),
        {"kind": "Deployment"},
        {"kind": "Deployment", "spec": {"template": None}},
        {"kind": "Pod", "spec": {"containers": {"a": 1}}},
        {"kind": "Pod", "spec": {"containers": ["a", None]}},
        {"kind": "Pod", "spec": [1]},
        {"kind": ["Pod"]} | {"kind": "CronJob", "spec": "x"},
    ],
)
def test_what_has_no_containers_stays_as_it_is(item: dict[str, object]) -> None:
    assert with_working_dirs([item], Path("/project")) == [item]


def test_the_first_file_says_which_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k8s").mkdir()
    monkeypatch.chdir(tmp_path)
    assert folder_of([str(tmp_path / "k8s" / "a.yaml"), "b.yaml"]) == tmp_path / "k8s"
    assert folder_of(["k8s"]) == tmp_path / "k8s"
    assert folder_of(["-"]) == folder_of([]) == tmp_path
