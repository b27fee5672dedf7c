"""Services in their turns → one Deployment with one pod, and the Services in front of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lapdev.cluster.compose.images import TCP_PORTS, image_port
from lapdev.cluster.compose.order import Role, Turn
from lapdev.cluster.compose.quantities import whole_seconds
from lapdev.cluster.compose.service import ComposeService, Health
from lapdev.cluster.compose.volumes import Volumes
from lapdev.cluster.manifests.node import HOST_NAME

Object = dict[str, Any]

UPDATE_ANNOTATION = "lapdev.dev/update"
TCP_ANNOTATION = "lapdev.dev/tcp-preview"

# In a manifest `$(NAME)` is replaced and `$$` is a dollar sign; in Compose neither means anything.
_MEANS_SOMETHING = re.compile(r"\$(?=[$(])")
# A check every few seconds tells soon that a service is there, however seldom it is asked later.
_STARTUP_INTERVAL = 2
_READINESS_INTERVAL = 5
# Compose never ends a container because it is unhealthy.
_PATIENCE = 1000
_LONGEST = 3600
_LABEL_KEY = re.compile(r"([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def deployment(
    project: str,
    turns: Sequence[Turn],
    inactive: Iterable[str],
    volumes: Volumes,
    lookup: Callable[[str], str | None],
) -> Object:
    """The Deployment of all services; a change of one restarts that container only."""
    containers: list[Object] = []
    init: list[Object] = []
    for turn in turns:
        found = _container(project, turn, volumes.mounts(turn.service, lookup))
        (containers if turn.role is Role.CONTAINER else init).append(found)
    services = [turn.service for turn in turns]
    labels = {"app": project}
    spec: Object = {
        "terminationGracePeriodSeconds": min(
            _LONGEST, math.ceil(max(service.stop_grace for service in services))
        ),
        "hostAliases": _host_aliases(services, inactive),
        "containers": containers,
    }
    if init:
        spec["initContainers"] = init
    if volumes.volumes:
        spec["volumes"] = volumes.volumes
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": project, "annotations": {UPDATE_ANNOTATION: "in-place"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _container(project: str, turn: Turn, mounts: list[Object]) -> Object:
    service = turn.service
    result: Object = {
        "name": service.label,
        "image": service.image or f"{project}-{service.label}",
        "command": [_literal(word) for word in service.words],
        "workingDir": service.working_dir,
    }
    if service.env:
        result["env"] = [
            {"name": name, "value": _literal(value)} for name, value in service.env.items()
        ]
    if mounts:
        result["volumeMounts"] = mounts
    resources = {
        name: values
        for name, values in (
            ("limits", service.resources.limits),
            ("requests", service.resources.requests),
        )
        if values
    }
    if resources:
        result["resources"] = resources
    if turn.role is Role.TASK:
        return result
    result["restartPolicy"] = _restart_policy(turn)
    if turn.one_time:
        return result
    if service.ports:
        result["ports"] = [{"containerPort": port} for port in service.all_ports]
    result |= _probes(turn)
    if service.hooks:
        result["lifecycle"] = {
            hook: {"exec": {"command": list(words)}} for hook, words in service.hooks.items()
        }
    return result


def _literal(text: str) -> str:
    return _MEANS_SOMETHING.sub("$$", text)


def _restart_policy(turn: Turn) -> str:
    if turn.role is Role.SIDECAR:
        return "Always"
    if turn.one_time:
        return "Never" if turn.service.restart == "no" else "OnFailure"
    return {"always": "Always", "unless-stopped": "Always", "no": "Never"}.get(
        turn.service.restart, "OnFailure"
    )


# Probes


def _probes(turn: Turn) -> Object:
    health = turn.service.health
    if health is None:
        return _listening(turn)
    check = {"exec": {"command": list(health.command)}}
    timeout = min(_LONGEST, whole_seconds(health.timeout))
    readiness = check | {"timeoutSeconds": timeout, "failureThreshold": health.retries}
    if not turn.gates:
        period = min(_READINESS_INTERVAL, whole_seconds(health.interval))
        return {"readinessProbe": readiness | {"periodSeconds": period}}
    startup = check | {
        "periodSeconds": _startup_period(health),
        "timeoutSeconds": timeout,
        "failureThreshold": _PATIENCE,
    }
    period = min(_LONGEST, whole_seconds(health.interval))
    return {"startupProbe": startup, "readinessProbe": readiness | {"periodSeconds": period}}


def _startup_period(health: Health) -> int:
    if health.start_interval:
        return min(_LONGEST, whole_seconds(health.start_interval))
    return min(_STARTUP_INTERVAL, whole_seconds(health.interval))


def _listening(turn: Turn) -> Object:
    """Who waits for health where no check is known waits for the port."""
    port = health_port(turn.service)
    if turn.role is not Role.SIDECAR or not turn.gates or not port:
        return {}
    check = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    return {"startupProbe": check | {"failureThreshold": _PATIENCE}, "readinessProbe": check}


def health_port(service: ComposeService) -> int:
    """The port that says the service is there, where it has no healthcheck; 0: none is known."""
    return service.all_ports[0] if service.ports else image_port(service.image)


# Names and Services


def _host_aliases(services: Sequence[ComposeService], inactive: Iterable[str]) -> list[Object]:
    """Every service is reached at localhost, under each of its names.

    The pod is replaced when these change: the order of services, and which of them are active,
    make no difference.
    """
    own = {name for service in services for name in (service.name, service.label, *service.aliases)}
    by_address: dict[str, set[str]] = {"127.0.0.1": own | set(inactive)}
    for service in services:
        for name, address in service.extra_hosts:
            by_address.setdefault(address, set()).add(name)
    return [
        {"ip": address, "hostnames": hostnames}
        for address, names in sorted(by_address.items())
        if (hostnames := sorted({name.lower() for name in names if is_host_name(name)}))
    ]


def is_host_name(name: str) -> bool:
    """A pod can be told an address for this name."""
    return HOST_NAME.fullmatch(name.lower()) is not None


def service_object(project: str, service: ComposeService, tcp_previews: Sequence[int]) -> Object:
    """The Service in front of the pod for one Compose service that has ports."""
    annotations = {
        name: value for name, value in service.labels.items() if _LABEL_KEY.fullmatch(name)
    }
    if tcp_previews:
        annotations[TCP_ANNOTATION] = ",".join(str(port) for port in tcp_previews)
    ports = []
    for port in service.all_ports:
        entry: Object = {"name": f"port-{port}", "port": port, "targetPort": port}
        if port in TCP_PORTS or port in tcp_previews:
            entry["appProtocol"] = "tcp"
        ports.append(entry)
    metadata: Object = {"name": service.label, "labels": {"app": project}}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": project}, "ports": ports},
    }
