"""A small application of real processes: a web service that calls an API, each behind a Service."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.needs import PROJECT

PROGRAM = str(PROJECT / "docs" / "examples" / "shop" / "service.py")


def deployment(name: str, **variables: str) -> dict[str, Any]:
    """`docs/examples/shop/service.py` under that name."""
    container = {
        "name": name,
        "image": "example/shop",
        "command": [sys.executable, "-S", PROGRAM],
        "env": [{"name": "NAME", "value": name}]
        + [{"name": key, "value": value} for key, value in variables.items()],
        "ports": [{"containerPort": 8080}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
            },
        },
    }


def service(name: str, *, preview: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if preview:
        metadata["annotations"] = {"lapdev.dev/preview": "true"}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def application() -> dict[str, Any]:
    """What the API takes: `web`, which has a preview and calls `api`."""
    return {
        "manifests": [
            deployment("web", CALLS="http://api/"),
            deployment("api"),
            service("web", preview=True),
            service("api"),
        ]
    }
