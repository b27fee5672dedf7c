"""What the processes of a pod are started with: words, environment, launch document."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
from lapdev.cluster.volumes import BindMount, container_mounts
from lapdev.model import SidecarIdentity

SIDECAR_ADMIN_PORT = 15090


VOLUME_PREFIX = "LAPDEV_VOLUME_"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a container finds where its pod runs."""

    place: Place
    options: LocalOptions
    services: Mapping[str, str]
    """Variables that name the namespace's Services."""
    configs: Configs
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume name → folder or file on this machine."""


def pod_facts(workload: Workload, place: Place) -> PodFacts:
    """What the pod's containers may learn of it."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return PodFacts(
        name=place.name,
        namespace=place.namespace,
        ip=place.ip,
        host_ip=place.subnet.gateway,
        labels=workload.pod.labels,
        annotations=workload.pod.annotations,
        machine_cpu=float(os.cpu_count() or 1),
        machine_memory=pages * page_bytes,
    )


def container_program(workload: Workload, container: Container, here: Situation) -> Program:
    """The container as a process in that situation; its output goes nowhere yet.

    Raises:
        ConfigError: it refers to something that is not there; names container and reference.
    """
    place, options = here.place, here.options
    facts = pod_facts(workload, place)
    env = base_environment() | {"HOSTNAME": place.hostname or place.name}
    if not options.isolation:
        # All pods share the machine's ports: an app has to listen on its pod's address only.
        env["POD_IP"] = place.ip
    if uses_own_python(workload):
        env["PATH"] = f"{Path(options.python).parent}:{env.get('PATH', os.defpath)}"
    # A mount's path may depend on variables, and a variable on where a volume is.
    first = pod_env(container, facts, here.services, here.configs)
    mounts = container_mounts(container, here.volumes, env | first)
    known = {**here.services, **volume_variables(container, mounts, isolation=options.isolation)}
    env |= pod_env(container, facts, known, here.configs)
    return Program(
        argv=local_command(workload, container, env, options.python),
        env=env,
        cwd=container.working_dir or str(options.working_dir),
        container=container.name,
        mounts=mounts,
        resources=container.resources,
    )


def volume_variables(
    container: Container, mounts: Iterable[BindMount], *, isolation: bool
) -> dict[str, str]:
    """`LAPDEV_VOLUME_<NAME>`: where the container finds each of its volumes.

    That is the mount's path where mounts are possible, else the folder on this machine.
    """
    sources = {mount.target: mount.source for mount in mounts}
    found: dict[str, str] = {}
    for mount in container.mounts:
        name = VOLUME_PREFIX + mount.volume.upper().replace("-", "_").replace(".", "_")
        target = os.path.normpath(mount.path)
        path = target if isolation else sources.get(target, target)
        found.setdefault(name, path)
    return found


def sidecar_launch(
    plan: SidecarPlan,
    place: Place,
    options: LocalOptions,
    issue: Callable[[SidecarIdentity], str],
) -> SidecarLaunch:
    """With a token of its own for every start: what a dead process knew is worth nothing."""
    identity = dataclasses.replace(plan.identity, pod=place.name)
    launch = SidecarLaunch(
        identity,
        plan.ports,
        options.manager_address,
        issue(identity),
        ca_file=options.ca_file,
    )
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
