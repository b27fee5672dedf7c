"""Volumes and mounts as written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import (
    Claim,
    ConfigFiles,
    DownwardFiles,
    EmptyDir,
    HostPath,
    Mount,
    Projected,
    Volume,
    VolumeSource,
)
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.volume_parts import parse_mounts, parse_volumes
from lapdev.errors import ConfigError


def volumes(written: Any, claims: Any = None) -> tuple[Volume, ...]:
    return parse_volumes(Node(written, "Pod/x: volumes"), Node(claims, "Pod/x: templates"))


def mounts(*written: Any) -> tuple[Mount, ...]:
    return parse_mounts(Node(list(written), "Pod/x: mounts"), ["data", "files"])


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ({}, EmptyDir()),
        ({"emptyDir": {}}, EmptyDir()),
        ({"emptyDir": None}, EmptyDir()),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "1Ki"}}, EmptyDir(True, 1024)),
        ({"configMap": {"name": "c"}}, Projected((ConfigFiles("ConfigMap", "c"),))),
        (
            {"secret": {"secretName": "s", "defaultMode": 0o400, "optional": True}},
            Projected((ConfigFiles("Secret", "s", optional=True),), 0o400),
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "x/./b", "mode": 0}]}},
            Projected((ConfigFiles("ConfigMap", "c", (("a", "x/b", 0),)),)),
        ),
        (
            {
                "downwardAPI": {
                    "items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]
                }
            },
            Projected((DownwardFiles((("metadata.labels", "l", None),)),)),
        ),
        (
            {
                "projected": {
                    "sources": [
                        {"secret": {"name": "s"}},
                        {"serviceAccountToken": {"path": "token"}},
                        {"configMap": {"name": "c"}},
                        {"downwardAPI": {}},
                    ]
                }
            },
            Projected(
                (ConfigFiles("Secret", "s"), ConfigFiles("ConfigMap", "c"), DownwardFiles(()))
            ),
        ),
        ({"hostPath": {"path": "/srv//x/"}}, HostPath("/srv/x")),
        ({"hostPath": {"path": "/", "type": "Directory"}}, HostPath("/", "Directory")),
        ({"persistentVolumeClaim": {"claimName": "a.b"}}, Claim("a.b")),
        (
            {"persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
            Claim("c", read_only=True),
        ),
        ({"ephemeral": {"volumeClaimTemplate": {}}}, EmptyDir()),
    ],
)
def test_every_source_is_read(written: Any, wanted: VolumeSource) -> None:
    assert volumes([{"name": "v", **written}]) == (Volume("v", wanted),)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"nfs": {"server": "x"}}, r"volumes\[0\]: nfs volumes are not supported"),
        ({"csi": {}}, "csi volumes are not supported"),
        ({"emptyDir": {}, "hostPath": {"path": "/"}}, "has emptyDir and hostPath"),
        ({"hostPath": {"path": "srv"}}, "'srv' is not an absolute path"),
        ({"hostPath": {"path": "/a/../b"}}, "leads outside"),
        ({"hostPath": {"path": "/", "type": "Folder"}}, "is 'Folder'"),
        ({"configMap": {}}, r"configMap\.name: is nothing"),
        ({"secret": {"name": "x"}}, r"secret\.secretName: is nothing"),
        ({"configMap": {"name": "c", "items": [{"key": "a", "path": "../b"}]}}, "leads outside"),
        ({"configMap": {"name": "c", "items": [{"key": "a", "path": "/b"}]}}, "absolute path"),
        ({"configMap": {"name": "c", "items": [{"key": "a", "path": "."}]}}, "path: is empty"),
        ({"configMap": {"name": "c", "defaultMode": 0o1000}}, "defaultMode: is 512"),
        ({"projected": {"sources": [{}]}}, r"sources\[0\]: names no source"),
        (
            {"downwardAPI": {"items": [{"path": "c", "resourceFieldRef": {}}]}},
            "resourceFieldRef: is not supported in files",
        ),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "status.phase"}}]}},
            r"fieldPath: 'status\.phase' is not supported",
        ),
        ({"emptyDir": {"sizeLimit": "big"}}, "'big' is not a quantity"),
    ],
)
def test_what_makes_no_volume_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        volumes([{"name": "v", **written}])
    assert caught.value.hint


def test_a_volume_is_there_once() -> None:
    with pytest.raises(
        ConfigError, match=r"volumes\[1\]\.name: name 'v' is at volumes\[0\]\.name already"
    ):
        volumes([{"name": "v"}, {"name": "v"}])


def test_claim_templates_are_volumes_and_win() -> None:
    template = {"metadata": {"name": "data"}, "spec": {}}
    found = volumes([{"name": "data"}, {"name": "tmp"}], [template])
    assert found == (Volume("data", Claim("data", per_pod=True)), Volume("tmp", EmptyDir()))
    with pytest.raises(ConfigError, match="name 'data' is at"):
        volumes([], [template, template])


def test_mounts_are_read() -> None:
    assert mounts(
        {"name": "data", "mountPath": "/a//b/"},
        {"name": "data", "mountPath": "/c", "subPath": "./x/", "readOnly": True},
        {"name": "files", "mountPath": "/d", "subPathExpr": "$(POD)/x"},
    ) == (
        Mount("data", "/a/b"),
        Mount("data", "/c", "x", read_only=True),
        Mount("files", "/d", "$(POD)/x", expand=True),
    )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"name": "none", "mountPath": "/a"}, "the pod has no volume 'none'"),
        ({"name": "data", "mountPath": "a"}, "'a' is not an absolute path"),
        ({"name": "data", "mountPath": "//"}, "would hide everything"),
        ({"name": "data", "mountPath": "/a", "subPath": "../x"}, "leads outside"),
        ({"name": "data", "mountPath": "/a", "subPath": "/x"}, "is an absolute path"),
        (
            {"name": "data", "mountPath": "/a", "subPath": "a", "subPathExpr": "b"},
            "has subPath and subPathExpr",
        ),
        ({"name": "data"}, r"mounts\[0\]\.mountPath: is nothing"),
    ],
)
def test_a_mount_that_fits_nowhere_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        mounts(written)
    assert caught.value.hint


def test_two_mounts_have_two_paths() -> None:
    with pytest.raises(
        ConfigError, match=r"path '/a' is at mounts\[0\]\.mountPath already"
    ) as caught:
        mounts({"name": "data", "mountPath": "/a"}, {"name": "files", "mountPath": "/a/"})
    assert caught.value.detail.startswith("Pod/x: mounts[1].mountPath")
