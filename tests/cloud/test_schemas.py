"""Requests are strict, and answers are made from the model without loss."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from lapdev.cloud import schemas
from lapdev.model import (
    Cluster,
    ClusterId,
    ClusterStatus,
    DeviceId,
    EnvironmentId,
    Intercept,
    InterceptId,
    PortMap,
)

ENVIRONMENT: dict[str, Any] = {"name": "shop", "manifests": []}
INTERCEPT: dict[str, Any] = {"service": "web", "device": "laptop"}


def test_what_may_be_left_out_has_a_default() -> None:
    made = schemas.CreateEnvironment(**ENVIRONMENT)
    assert (made.kind, made.cluster) == ("shared", "")
    wish = schemas.CreateIntercept(**INTERCEPT)
    assert (wish.ports, wish.include_branches) == ([], False)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (schemas.CreateEnvironment, {**ENVIRONMENT, "surplus": 1}),
        (schemas.CreateEnvironment, {**ENVIRONMENT, "name": 1}),
        (schemas.CreateEnvironment, {**ENVIRONMENT, "kind": "branch"}),
        (schemas.CreateEnvironment, {**ENVIRONMENT, "manifests": [1]}),
        (schemas.CreateBranch, {}),
        (schemas.CreatePreview, {"service": "web", "port": "80"}),
        (schemas.CreatePreview, {"service": "web", "port": 0}),
        (schemas.CreateIntercept, {**INTERCEPT, "device": "a/b"}),
        (schemas.CreateIntercept, {**INTERCEPT, "device": "-a"}),
        (schemas.CreateIntercept, {**INTERCEPT, "include_branches": 1}),
        (schemas.InterceptPort, {"service_port": 80, "local_port": 65536}),
        (schemas.PutWorkload, {}),
        (schemas.PutWorkload, {"manifest": {}, "patch": {}}),
    ],
)
def test_anything_else_is_refused(model: type[BaseModel], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**body)


def test_a_workload_is_put_as_a_manifest_or_as_a_patch() -> None:
    assert schemas.PutWorkload(manifest={"kind": "Deployment"}).patch is None
    assert schemas.PutWorkload(patch={"": {"image": "x"}}).manifest is None


def test_a_clusters_status_is_its_word() -> None:
    cluster = Cluster(ClusterId("c"), "local", ClusterStatus.NOT_READY, "since noon")
    assert schemas.ClusterOut.of(cluster).model_dump() == {
        "id": "c",
        "name": "local",
        "status": "not_ready",
        "detail": "since noon",
    }


def test_an_intercept_says_whether_its_device_is_there() -> None:
    intercept = Intercept(
        InterceptId("i"), EnvironmentId("e"), "web", "web-app", DeviceId("d"), (PortMap(80, 3000),)
    )
    shown = schemas.InterceptOut.of(intercept, connected=True).model_dump()
    assert shown["device_connected"] is True
    assert shown["workload"] == "web-app"
    assert shown["ports"] == [{"service_port": 80, "local_port": 3000}]
