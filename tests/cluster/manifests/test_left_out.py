"""What a file may hold and does nothing here."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests.left_out import left_out, unread


def thing(kind: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "web", **metadata}}


def why(item: dict[str, Any], *present: str) -> str:
    return left_out(item["kind"], item, present)


@pytest.mark.parametrize("kind", ["NetworkPolicy", "ServiceMonitor", "CustomResourceDefinition"])
def test_rules_of_a_cluster_mean_nothing_here(kind: str) -> None:
    assert why(thing(kind)) == f"{kind}/web"


@pytest.mark.parametrize("hook", ["test", "pre-delete, post-delete", "test-success"])
def test_a_helm_hook_for_another_time_is_not_run_at_once(hook: str) -> None:
    item = thing("Pod", annotations={"helm.sh/hook": hook})
    assert why(item) == f"Pod/web (Helm hook {hook})"


@pytest.mark.parametrize("hook", ["pre-install,pre-upgrade", "post-upgrade,test", ""])
def test_a_helm_hook_of_an_installation_runs(hook: str) -> None:
    assert why(thing("Job", annotations={"helm.sh/hook": hook})) == ""


def test_what_a_controller_of_the_same_file_has_made_is_made_here_by_it() -> None:
    owner = {"kind": "ReplicaSet", "name": "web-7d9", "controller": True}
    pod = thing("Pod", ownerReferences=[owner])
    assert why(pod, "ReplicaSet/web-7d9") == "Pod/web (made by ReplicaSet/web-7d9)"
    assert why(pod, "ReplicaSet/other") == ""
    assert why(thing("Pod", ownerReferences=[{**owner, "controller": False}]), *ALL) == ""


ALL = ("ReplicaSet/web-7d9", "Pod/web")


def test_the_service_of_the_api_server_is_the_clusters_own() -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    assert why(thing("Service", labels=labels)) == "Service/web (the cluster's own)"
    assert why(thing("Service", labels={"component": "api"})) == ""


def test_metadata_that_are_none_are_somebody_elses_complaint() -> None:
    assert left_out("Pod", {"kind": "Pod", "metadata": "x"}, ()) == ""


def test_parts_that_are_not_read_are_told() -> None:
    job = {**thing("Job"), "spec": {"podFailurePolicy": {}, "backoffLimit": 1}}
    cron = {**thing("CronJob"), "spec": {"jobTemplate": {"spec": {"successPolicy": {}}}}}
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53}]
    service = {**thing("Service"), "spec": {"ports": ports}}
    told = [unread(item["kind"], item) for item in (job, cron, service, thing("Secret"))]
    assert told == [
        ["Job/web podFailurePolicy"],
        ["CronJob/web successPolicy"],
        ["Service/web port 53/UDP"],
        [],
    ]
