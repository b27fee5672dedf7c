"""What the processes of a pod are started with: words, environment, launch document."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from lapdev.cluster.driver import SidecarLaunch, SidecarPlan
from lapdev.cluster.manifests import (
    Configs,
    Container,
    PodFacts,
    Workload,
    local_command,
    pod_env,
)
from lapdev.cluster.manifests.command import uses_own_python
from lapdev.cluster.options import LocalOptions, base_environment
from lapdev.cluster.sandbox import Place, Program
from lapdev.model import SidecarIdentity

SIDECAR_ADMIN_PORT = 15090


def container_program(
    workload: Workload,
    container: Container,
    place: Place,
    options: LocalOptions,
    services: Mapping[str, str],
    configs: Configs,
) -> Program:
    """The container as a process in that place; its output goes nowhere yet."""
    facts = PodFacts(
        name=place.name,
        namespace=place.namespace,
        ip=place.ip,
        host_ip=place.subnet.gateway,
        labels=workload.pod.labels,
        annotations=workload.pod.annotations,
    )
    env = base_environment() | {"HOSTNAME": place.name}
    if not options.isolation:
        # All pods share the machine's ports: an app has to listen on its pod's address only.
        env["POD_IP"] = place.ip
    if uses_own_python(workload):
        env["PATH"] = f"{Path(options.python).parent}:{env.get('PATH', os.defpath)}"
    env |= pod_env(container, facts, services, configs)
    return Program(
        argv=local_command(workload, container, env, options.python),
        env=env,
        cwd=container.working_dir or str(options.working_dir),
    )


def sidecar_launch(
    plan: SidecarPlan,
    place: Place,
    options: LocalOptions,
    issue: Callable[[SidecarIdentity], str],
) -> SidecarLaunch:
    """With a token of its own for every start: what a dead process knew is worth nothing."""
    identity = dataclasses.replace(plan.identity, pod=place.name)
    launch = SidecarLaunch(identity, plan.ports, options.manager_address, issue(identity))
    if options.isolation:
        return launch
    admin = f"{place.ip}:{SIDECAR_ADMIN_PORT}"
    return dataclasses.replace(launch, app_host=place.ip, bind_host=place.ip, admin=admin)


def sealed_document(launch: SidecarLaunch) -> int:
    """A descriptor from which the document can be read once, and which is no file anywhere."""
    fd = os.memfd_create("launch")
    os.write(fd, json.dumps(dataclasses.asdict(launch)).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
