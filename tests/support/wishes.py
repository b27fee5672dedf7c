"""What a cloud would send: manifests, environments, intercepts, in the fewest words."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from lapdev.model import (
    ClusterId,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    Intercept,
    InterceptId,
    PortMap,
)
from lapdev.wire.control import ApplyEnvironment, InterceptGrant

NAMESPACE = "shop"


def deployment(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    ports: dict[str, int] | None = None,
    replicas: int = 1,
    command: str = "sleep inf",
) -> dict[str, Any]:
    """A Deployment whose pods are labelled `app: <name>` unless told otherwise."""
    marks = {"app": name} if labels is None else labels
    declared = [{"name": key, "containerPort": port} for key, port in (ports or {}).items()]
    container = {"name": "main", "command": command.split(), "ports": declared}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": marks},
            "template": {"metadata": {"labels": marks}, "spec": {"containers": [container]}},
        },
    }


def as_kind(manifest: dict[str, Any], kind: str, **spec: Any) -> dict[str, Any]:
    """A Deployment's pods run by a workload of another kind; `spec` is added to the object's."""
    template = copy.deepcopy(manifest["spec"]["template"])
    name = manifest["metadata"]["name"]
    if kind == "Pod":
        metadata = {**template["metadata"], "name": name}
        return {"kind": kind, "metadata": metadata, "spec": {**template["spec"], **spec}}
    written = {"template": template, **spec}
    if kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
    else:
        written["selector"] = manifest["spec"]["selector"]
    if kind == "CronJob":
        written = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": written}}
    if kind == "StatefulSet":
        written.setdefault("serviceName", name)
    return {"kind": kind, "metadata": {"name": name}, "spec": written}


def headless(manifest: dict[str, Any]) -> dict[str, Any]:
    """The Service without an address of its own."""
    return {**manifest, "spec": {**manifest["spec"], "clusterIP": "None"}}


def config(name: str, kind: str = "ConfigMap", **data: str) -> dict[str, Any]:
    """A ConfigMap, or a Secret, with these entries."""
    member = "data" if kind == "ConfigMap" else "stringData"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, member: data}


def reading(manifest: dict[str, Any], *configs: tuple[str, str]) -> dict[str, Any]:
    """The workload with these (kind, name) as its containers' environment."""
    found = copy.deepcopy(manifest)
    member = {"ConfigMap": "configMapRef", "Secret": "secretRef"}
    for container in found["spec"]["template"]["spec"]["containers"]:
        container["envFrom"] = [{member[kind]: {"name": name}} for kind, name in configs]
    return found


def service(
    name: str, *ports: tuple[int, int | str], selector: dict[str, str] | None = None
) -> dict[str, Any]:
    """A Service of pods labelled `app: <name>`, with (port, targetPort) pairs."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name} if selector is None else selector,
            "ports": [
                {"name": f"http-{port}", "port": port, "targetPort": target}
                for port, target in ports
            ],
        },
    }


API = (deployment("api", ports={"http": 8080}), service("api", (80, "http")))
WEB = (deployment("web", ports={"http": 3000}), service("web", (80, 3000)))


def base(*manifests: dict[str, Any], generation: int = 1, **more: Any) -> ApplyEnvironment:
    """The shared environment `shop`, with `api` and `web` unless told otherwise."""
    return _apply(
        Environment(
            id=EnvironmentId("shopid0000000000"),
            name="shop",
            kind=EnvironmentKind.SHARED,
            cluster=ClusterId("c1"),
            namespace=NAMESPACE,
            base=None,
            generation=generation,
            manifests=manifests or (*API, *WEB),
        ),
        more,
    )


def branch(
    name: str, *manifests: dict[str, Any], generation: int = 1, **more: Any
) -> ApplyEnvironment:
    """A branch of `shop` with its changed workloads."""
    return _apply(
        Environment(
            id=EnvironmentId(f"{name}id".ljust(16, "0")),
            name=name,
            kind=EnvironmentKind.BRANCH,
            cluster=ClusterId("c1"),
            namespace=NAMESPACE,
            base=EnvironmentId("shopid0000000000"),
            generation=generation,
            manifests=manifests,
        ),
        more,
    )


def grant(
    name: str,
    *ports: int,
    workload: str = "api",
    service: str = "api",
    include_branches: bool = False,
) -> InterceptGrant:
    """An intercept called `name`; its environment is the one it is sent with."""
    intercept = Intercept(
        id=InterceptId(name),
        environment=EnvironmentId(""),
        service=service,
        workload=workload,
        device=DeviceId("laptop"),
        ports=tuple(PortMap(port, port + 10_000) for port in ports or (80,)),
        include_branches=include_branches,
    )
    return InterceptGrant(intercept, token=f"token of {name}", cloud="unix:/run/cloud.sock")


def newer(
    message: ApplyEnvironment,
    generation: int,
    *grants: InterceptGrant,
    manifests: tuple[dict[str, Any], ...] | None = None,
) -> ApplyEnvironment:
    """The same environment at a later generation, with these intercepts."""
    environment = dataclasses.replace(message.environment, generation=generation)
    if manifests is not None:
        environment = dataclasses.replace(environment, manifests=manifests)
    return ApplyEnvironment(environment, grants)


def _apply(environment: Environment, more: dict[str, Any]) -> ApplyEnvironment:
    grants = more.pop("intercepts", ())
    return ApplyEnvironment(dataclasses.replace(environment, **more), tuple(grants))
