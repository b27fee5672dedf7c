"""The local driver: pods as groups of ordinary processes on this machine, no root needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

from lapdev.cluster.cgroups import find as find_limits
from lapdev.cluster.controllers import check_runnable
from lapdev.cluster.driver import LogQuery, NamespaceSpec, PodCredentials
from lapdev.cluster.local_namespace import LocalNamespace
from lapdev.cluster.local_pods import Machine
from lapdev.cluster.namespaces import in_outer
from lapdev.cluster.network import Network
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.pod import PodInfo
from lapdev.cluster.sidecar_forks import SidecarForks
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import ISOLATED_RANGE, LOOPBACK_RANGE, AddressPlan
from lapdev.cluster.volumes import remove_claims, remove_owned, retain_owned
from lapdev.cluster.wanted import WantedNamespace, service_port, wanted_namespace
from lapdev.errors import ClusterError, NoRoute, NotFound
from lapdev.log import get_logger
from lapdev.model import LogLine, WorkloadStatus

NAMESPACES_APART = 16
"""Between two lapdevs of one machine, where pods have no isolation."""
OPEN_HINT = (
    "without isolation no service has a name (use API_SERVICE_HOST and its like; in a Compose"
    " project localhost), and apps share the machine's ports (let them listen on $POD_IP)"
)
VOLUMES_HINT = (
    "without isolation volumes are not mounted: containers find the folder of each in"
    " LAPDEV_VOLUME_<NAME>"
)


class LocalDriver:
    """Meets `cluster.driver.Driver`. With isolation, `enter_outer` has been called before."""

    name = "local"

    def __init__(self, options: LocalOptions, credentials: PodCredentials) -> None:
        self.options = options
        self.detail = ""
        network = Network() if options.isolation else None
        spawner = Spawner(options.python, isolation=options.isolation)
        ours = not options.sidecar_command
        self._machine = Machine(
            options=options,
            credentials=credentials,
            spawner=spawner,
            forks=SidecarForks(spawner, options.sidecar_argv()) if ours else None,
            network=network,
            plan=_address_plan(options),
            changed=self._notify,
        )
        self._namespaces: dict[str, LocalNamespace] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._callbacks: list[Callable[[str], None]] = []
        self._started = False
        self._told_of_volumes = False

    async def start(self) -> None:
        if self.options.isolation and not in_outer():
            raise ClusterError(
                "the manager is not in namespaces of its own",
                hint="call cluster.namespaces.enter_outer() first, or use --no-isolation",
            )
        pods = self.options.runtime_dir / "pods"
        shutil.rmtree(pods, ignore_errors=True)
        pods.mkdir(parents=True, mode=0o700)
        await self._machine.spawner.start()
        if self._machine.network is not None:
            await self._machine.network.start()
        limits_hint = ""
        if self.options.limits:
            self._machine.limits = find_limits()
            limits_hint = self._machine.limits.explain()
        open_hints = () if self.options.isolation else (OPEN_HINT, VOLUMES_HINT)
        self.detail = "; ".join(filter(None, (limits_hint, *open_hints)))
        self._started = True

    async def aclose(self) -> None:
        self._started = False
        await asyncio.gather(*(self._shut(name) for name in self._namespaces))
        if self._machine.network is not None:
            await self._machine.network.aclose()
        if self._machine.forks is not None:
            await self._machine.forks.aclose()
        await self._machine.spawner.aclose()
        self._machine.limits.aclose()
        self._machine.ports.close()

    async def apply(self, spec: NamespaceSpec) -> None:
        known = self._namespaces.get(spec.name)
        wanted = wanted_namespace(spec, known.wanted if known else None)
        check_runnable(wanted)
        self._tell_of_volumes(wanted)
        async with self._locks[spec.name]:
            if not self._started:
                raise ClusterError("the driver is not running")
            namespace = self._namespaces.get(spec.name)
            if namespace is None:
                namespace = LocalNamespace(spec.name, self._machine)
                await namespace.open()
                self._namespaces[spec.name] = namespace
            namespace.apply(wanted)

    async def delete(self, namespace: str) -> None:
        async with self._locks[namespace]:
            await self._close(namespace, None)
            # Also of one that only an earlier process has known.
            await self._remove_claims(namespace)

    async def remove_claims(self, namespace: str, owner: str) -> None:
        claims = self._claims(namespace)
        if claims is not None:
            await asyncio.to_thread(remove_owned, claims, owner)

    async def retain(self, namespaces: Collection[str], owners: Collection[str]) -> None:
        root = self._machine.claims_folder()
        left = {folder.name for folder in root.iterdir()} if root.is_dir() else set()
        others = (left | self._namespaces.keys()) - set(namespaces)
        await asyncio.gather(*(self.delete(name) for name in others))
        for claims in filter(None, map(self._claims, namespaces)):
            await asyncio.to_thread(retain_owned, claims, owners)
        await asyncio.to_thread(self._machine.limits.remove_left_cgroups)

    async def wait_gone(self, namespace: str, workloads: Collection[str]) -> None:
        known = self._namespaces.get(namespace)
        if known is not None:
            await known.wait_gone(workloads)

    def status(self, namespace: str) -> tuple[WorkloadStatus, ...]:
        known = self._namespaces.get(namespace)
        return known.status() if known else ()

    def on_change(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def service_host(self, namespace: str, service: str) -> str:
        if namespace not in self._namespaces:
            raise NoRoute(f"there is no namespace {namespace}")
        return self._namespaces[namespace].services.host(service)

    def endpoints(self, namespace: str, service: str, port: int) -> tuple[str, ...]:
        known = self._namespaces.get(namespace)
        if known is None:
            service_port(None, service, port)
            return ()
        return known.services.endpoints(service, port)

    async def logs(self, namespace: str, query: LogQuery) -> AsyncIterator[LogLine]:
        known = self._namespaces.get(namespace)
        if known is None:
            raise NotFound(f"there is no namespace {namespace}")
        async with contextlib.aclosing(known.logs(query)) as lines:
            async for line in lines:
                yield line

    # Beyond the contract

    def pods(self, namespace: str) -> tuple[PodInfo, ...]:
        """Every pod of the namespace, also those that are ending."""
        known = self._namespaces.get(namespace)
        return tuple(pod.info() for pod in known.pods()) if known else ()

    async def _shut(self, name: str) -> None:
        async with self._locks[name]:
            await self._close(name, self.options.shutdown_grace)

    async def _close(self, name: str, grace_limit: float | None) -> None:
        namespace = self._namespaces.get(name)
        if namespace is None:
            return
        await namespace.aclose(grace_limit)
        del self._namespaces[name]
        self._notify(name)

    async def _remove_claims(self, namespace: str) -> None:
        claims = self._claims(namespace)
        if claims is not None:
            await asyncio.to_thread(remove_claims, claims)

    def _claims(self, namespace: str) -> Path | None:
        """None: a name that leads elsewhere is no namespace's."""
        claims = self._machine.claims_folder(namespace)
        ours = claims.parent == self._machine.claims_folder() and namespace not in ("", "..")
        return claims if ours else None

    def _tell_of_volumes(self, wanted: WantedNamespace) -> None:
        """Once: where pods have no isolation, their containers see no volume at its place."""
        if self.options.isolation or self._told_of_volumes:
            return
        for workload in wanted.workloads.values():
            if any(container.mounts for container in workload.facts.pod.all_containers()):
                self._told_of_volumes = True
                target = f"{wanted.name}/{workload.name}"
                get_logger().warning("volumes_not_mounted", target=target, hint=VOLUMES_HINT)
                return

    def _notify(self, namespace: str) -> None:
        for callback in self._callbacks:
            try:
                callback(namespace)
            except Exception:
                # A listener's mistake must not stop pods from being looked after.
                get_logger().exception("change_callback_failed", target=namespace)


def _address_plan(options: LocalOptions) -> AddressPlan:
    if options.isolation:
        return AddressPlan(ISOLATED_RANGE)
    # Without isolation all of a machine's lapdevs share one range: each begins somewhere else.
    return AddressPlan(LOOPBACK_RANGE, first=os.getpid() * NAMESPACES_APART)
