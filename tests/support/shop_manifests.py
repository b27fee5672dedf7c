"""A small application as Kubernetes objects: a marked web service in front of an API."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]


def deployment(name: str, image: str = "shop:1", containers: tuple[str, ...] = ()) -> Manifest:
    """A Deployment whose pods carry the label app=name."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {"name": container, "image": image, "command": ["run", container]}
                        for container in containers or (name,)
                    ]
                },
            },
        },
    }


def service(name: str, *ports: Manifest, preview: bool = False) -> Manifest:
    """A Service that selects app=name."""
    metadata: Manifest = {"name": name}
    if preview:
        metadata["annotations"] = {"lapdev.dev/preview": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": name}, "ports": list(ports) or [{"port": 8080}]},
    }


def shop() -> list[Manifest]:
    """web (marked for previews; a TCP port beside the HTTP one) and api."""
    return [
        deployment("web"),
        deployment("api"),
        service(
            "web",
            {"name": "http", "port": 8080, "targetPort": 3000},
            {"name": "tcp-debug", "port": 9229},
            preview=True,
        ),
        service("api", {"name": "http", "port": 8080}),
    ]


def ingress(name: str, *paths: tuple[str, str, int], host: str = "") -> Manifest:
    """An Ingress whose paths (path, service, port) are prefixes."""
    rule: Manifest = {
        "http": {
            "paths": [
                {
                    "path": path,
                    "pathType": "Prefix",
                    "backend": {"service": {"name": service, "port": {"number": port}}},
                }
                for path, service, port in paths
            ]
        }
    }
    if host:
        rule["host"] = host
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": [rule]},
    }


def configured(kind: str, name: str, **data: str) -> Manifest:
    """A ConfigMap, or a Secret by its `stringData`."""
    field = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data}
