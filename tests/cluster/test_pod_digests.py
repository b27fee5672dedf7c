"""What changes of a pod, and what of it has to start again."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigObject, parse_workload
from lapdev.cluster.pod_digests import PodDigests, pod_digests

COMMAND = "local.lapdev.dev/command"
MANIFEST: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "api"},
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "api"}},
            "spec": {
                "initContainers": [{"name": "init", "command": ["true"]}],
                "containers": [
                    {
                        "name": "web",
                        "command": ["web"],
                        "env": [
                            {
                                "name": "A",
                                "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}},
                            }
                        ],
                    },
                    {
                        "name": "worker",
                        "command": ["work"],
                        "volumeMounts": [{"name": "files", "mountPath": "/files"}],
                    },
                ],
                "volumes": [
                    {"name": "files", "configMap": {"name": "conf"}},
                    {"name": "unused", "secret": {"secretName": "keys", "optional": True}},
                ],
            },
        }
    },
}
CONFIGS = {("ConfigMap", "conf"): {"a": b"1", "b": b"2"}, ("Secret", "other"): {"x": b"1"}}


def digests(
    manifest: dict[str, Any] = MANIFEST, sidecar: object = None, **contents: dict[str, bytes]
) -> PodDigests:
    known: dict[Any, dict[str, bytes]] = {**CONFIGS}
    known |= {key: contents[key[1]] for key in known if key[1] in contents}
    if "keys" in contents:
        known["Secret", "keys"] = contents["keys"]
    configs = {key: ConfigObject(*key, data) for key, data in known.items()}
    return pod_digests(manifest, parse_workload(manifest).pod, configs, sidecar)


def changed(after: PodDigests) -> set[str]:
    """Names of the containers that changed, and `pod` for everything else."""
    before = digests()
    names = {name for name in after.containers if after.containers[name] != before.containers[name]}
    names |= {"pod"} if after.pod != before.pod else set()
    assert (after.whole != before.whole) == bool(names)
    return names


def edited(*path: Any, to: Any) -> dict[str, Any]:
    manifest = copy.deepcopy(MANIFEST)
    inner = manifest["spec"]["template"]
    for step in path[:-1]:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
    inner[path[-1]] = to
    return manifest


@pytest.mark.parametrize(
    ("manifest", "names"),
    [
        (edited("spec", "containers", 0, "image", to="web:2"), {"web"}),
        (edited("spec", "initContainers", 0, "args", to=["x"]), {"init"}),
        (edited("metadata", "annotations", f"{COMMAND}.worker", to="x"), {"worker"}),
        (edited("metadata", "annotations", COMMAND, to="of one container only"), set()),
        (edited("metadata", "annotations", "note", to="x"), {"pod"}),
        (edited("metadata", "labels", "tier", to="x"), {"pod"}),
        (edited("spec", "hostAliases", to=[{"ip": "127.0.0.1", "hostnames": ["db"]}]), {"pod"}),
        (edited("spec", "volumes", 0, "configMap", "defaultMode", to=256), {"pod"}),
        (edited("metadata", "creationTimestamp", to=None), set()),
    ],
)
def test_a_change_is_the_containers_or_the_pods(manifest: dict[str, Any], names: set[str]) -> None:
    assert changed(digests(manifest)) == names


@pytest.mark.parametrize(
    ("contents", "names"),
    [
        ({"conf": {"a": b"9", "b": b"2"}}, {"web", "worker"}),
        ({"conf": {"a": b"1", "b": b"9"}}, {"worker"}),
        ({"other": {"x": b"9"}}, set()),
        ({"keys": {"k": b"1"}}, {"pod"}),
    ],
)
def test_content_counts_for_those_that_refer_to_it(
    contents: dict[str, dict[str, bytes]], names: set[str]
) -> None:
    assert changed(digests(**contents)) == names


def test_the_sidecar_is_part_of_the_pod() -> None:
    assert changed(digests(sidecar={"port": 1})) == {"pod"}


def test_replicas_are_nobodys_change_and_the_order_is_the_pods_as_a_whole() -> None:
    scaled = copy.deepcopy(MANIFEST)
    scaled["spec"]["replicas"] = 5
    assert digests(scaled) == digests()
    turned = copy.deepcopy(MANIFEST)
    turned["spec"]["template"]["spec"]["containers"].reverse()
    assert digests(turned).whole != digests().whole
    assert digests(turned).containers == digests().containers


def test_the_only_container_has_the_short_annotation() -> None:
    manifest = edited("metadata", "annotations", COMMAND, to="x")
    del manifest["spec"]["template"]["spec"]["containers"][1]
    before = copy.deepcopy(manifest)
    before["spec"]["template"]["metadata"]["annotations"][COMMAND] = "y"
    now, then = digests(manifest), digests(before)
    assert now.containers["web"] != then.containers["web"]
    assert now.containers["init"] == then.containers["init"]
    assert now.pod == then.pod


def test_what_another_container_may_use_counts_where_it_is_told() -> None:
    told = {
        "name": "M",
        "valueFrom": {"resourceFieldRef": {"containerName": "worker", "resource": "limits.memory"}},
    }
    first = edited("spec", "containers", 0, "env", to=[told])
    second = copy.deepcopy(first)
    worker = second["spec"]["template"]["spec"]["containers"][1]
    worker["resources"] = {"limits": {"memory": "1Gi"}}
    assert digests(first).containers["web"] != digests(second).containers["web"]


@pytest.mark.parametrize("kind", ["Pod", "Job", "CronJob"])
def test_every_kind_has_digests(kind: str) -> None:
    template = copy.deepcopy(MANIFEST["spec"]["template"])
    template["spec"]["restartPolicy"] = "Never"
    metadata = {"name": "x"}
    manifest: dict[str, Any] = {
        "kind": kind,
        "metadata": metadata,
        "spec": {"template": template, "schedule": "@hourly"},
    }
    if kind == "CronJob":
        manifest["spec"]["jobTemplate"] = {"spec": {"template": template}}
    if kind == "Pod":
        manifest = {"kind": kind, "metadata": template["metadata"] | metadata}
        manifest["spec"] = template["spec"]
    assert digests(manifest).containers == digests().containers
