"""One pod of real processes, without a namespace around it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lapdev.cluster.driver import NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.cluster.machine_ports import MachinePorts
from lapdev.cluster.manifests import ConfigObject
from lapdev.cluster.open_sandbox import OpenSandbox
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.pod import Pod, Surroundings
from lapdev.cluster.sandbox import Place, Sandbox
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import LOOPBACK_RANGE, AddressPlan
from lapdev.cluster.wanted import WantedWorkload, wanted_namespace
from tests.support import needs
from tests.support.fake_driver import FakeCredentials
from tests.support.watch import Watch

STANDIN = needs.PROJECT / "tests" / "support" / "standin_sidecar.py"


def sh(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A container that runs a shell script."""
    return {"name": name, "command": ["/bin/sh", "-c", script], **more}


def python(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "command": [sys.executable, "-S", "-c", script], **more}


def template(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod template; a short grace, where nothing else is said."""
    given = {"terminationGracePeriodSeconds": 5, "containers": [*containers], **spec}
    return {"metadata": {"labels": {"app": "web"}}, "spec": given}


def wanted(
    pod: dict[str, Any], *configs: ConfigObject, sidecar: SidecarPlan | None = None
) -> WantedWorkload:
    """A bare Pod named `web`: it may have any restart policy."""
    metadata = {"name": "web", **pod["metadata"]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
    spec = NamespaceSpec("shop", (WorkloadSpec("web", manifest, sidecar),), configs=configs)
    return wanted_namespace(spec).workloads["web"]


@dataclass
class OnePod:
    pod: Pod
    watch: Watch
    running: asyncio.Task[None]
    configs: dict[Any, ConfigObject]
    changes: list[str] = field(default_factory=list)

    async def until(self, condition: Callable[[Pod], object]) -> None:
        """The condition holds; looked at after every change the pod tells of."""
        await self.watch.until(lambda: condition(self.pod))

    async def ended(self) -> None:
        await asyncio.wait_for(asyncio.shield(self.running), 20)

    def said(self, name: str) -> list[str]:
        (output,) = [each.output for each in self.pod.containers if each.name == name]
        return [text for _, text in output.last(1000)]


@asynccontextmanager
async def one_pod(
    folder: Path,
    workload: WantedWorkload,
    *configs: ConfigObject,
    make_sandbox: Callable[[Spawner, Place], Sandbox] | None = None,
) -> AsyncIterator[OnePod]:
    """The pod runs; at the end it is stopped, in a hurry."""
    spawner = Spawner(sys.executable, isolation=False)
    subnet = AddressPlan(LOOPBACK_RANGE).take()
    place = Place("web-x", "shop", subnet.pods.take(), subnet, "", folder / "pods" / "web-x")
    options = LocalOptions(
        folder, "unix:/none", isolation=False, sidecar_command=(sys.executable, "-S", str(STANDIN))
    )
    watch = Watch()
    ports = MachinePorts()

    def in_sandbox(place: Place) -> Sandbox:
        if make_sandbox is not None:
            return make_sandbox(spawner, place)
        return OpenSandbox(spawner, place, ports)

    known = {(config.kind, config.name): config for config in configs}
    around = Surroundings(
        options=options,
        credentials=FakeCredentials(),
        make_sandbox=in_sandbox,
        service_environment=dict,
        configs=lambda: known,
        on_change=watch,
    )
    pod = Pod(workload, place, around)
    running = asyncio.get_running_loop().create_task(pod.run())
    try:
        yield OnePod(pod, watch, running, known)
    finally:
        pod.request_stop(0.5)
        await running
        await spawner.aclose()
        ports.close()
