"""The contract between the manager and whatever runs pods.

A driver is told, per namespace, everything that should exist, and makes it so: it starts what is
missing, replaces what differs, stops what is gone, and says what runs. `local` runs pods as
processes; a Kubernetes driver meets the same contract. The manager never asks a driver to do one
thing to one pod.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lapdev.model import LogLine, Service, SidecarIdentity, SidecarPort, WorkloadStatus

if TYPE_CHECKING:  # sidecars import this for their launch document, and read no manifests
    from lapdev.cluster.manifests import ConfigObject


@dataclass(frozen=True, slots=True)
class SidecarPlan:
    """The sidecar every pod of a workload gets beside its containers."""

    identity: SidecarIdentity
    """`pod` is empty here; the driver fills it in for each pod."""
    ports: tuple[SidecarPort, ...]


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """One workload as it should run."""

    name: str
    """Unique in the namespace, at most 63 octets."""
    manifest: dict[str, Any]
    """The Kubernetes object, checked by `cluster.manifests`."""
    sidecar: SidecarPlan | None
    claims_of: str = ""
    """Who owns the claims its pods may write to, a-z0-9; empty: the namespace."""


@dataclass(frozen=True, slots=True)
class NamespaceSpec:
    """Everything that should exist in a namespace."""

    name: str
    workloads: tuple[WorkloadSpec, ...]
    services: tuple[Service, ...] = ()
    configs: tuple[ConfigObject, ...] = ()
    """ConfigMaps and Secrets that its workloads refer to."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of a namespace's pods somebody wants."""

    workload: str
    """As in the spec."""
    container: str = ""
    """Empty: all."""
    lines: int = 100
    """How many of those printed already, newest last; per container."""
    follow: bool = False


@dataclass(frozen=True, slots=True)
class SidecarLaunch:
    """What a sidecar process is started with, handed over by an inherited descriptor."""

    identity: SidecarIdentity
    ports: tuple[SidecarPort, ...]
    manager: str
    """Address of the manager's sidecar listener: `unix:PATH` or `host:port`."""
    token: str
    """Proves which pod it is. Never in argv, environment, or log."""
    app_host: str = "127.0.0.1"
    """Where the pod's containers listen."""
    bind_host: str = "0.0.0.0"
    admin: str = "127.0.0.1:15090"
    ca_file: str = ""
    """Authorities to believe beside the machine's own."""


class PodCredentials(Protocol):
    """The manager's side of a pod's identity: who may call itself what."""

    def issue(self, identity: SidecarIdentity) -> str:
        """A fresh token for one pod. Withdrawn by `revoke`."""

    def revoke(self, identity: SidecarIdentity) -> None: ...


class Driver(Protocol):
    """What the manager needs from a cluster."""

    name: str
    detail: str
    """What this machine cannot do for pods and how to change that, in one line; empty when it can
    do everything. Known after `start`."""

    async def start(self) -> None:
        """Ready to apply. Raises ClusterError with the remedy when the machine cannot run pods."""

    async def aclose(self) -> None:
        """Nothing this driver started runs any more. Idempotent."""

    async def apply(self, spec: NamespaceSpec) -> None:
        """The namespace is becoming what `spec` says; returns before pods are ready.

        Raises:
            ConfigError: a manifest cannot run here; names object, container and remedy.
            ClusterError: there is no room for it: more services than addresses, more namespaces
                than networks. Nothing has changed then.
        """

    async def delete(self, namespace: str) -> None:
        """Nothing of the namespace exists any more, its volumes too. Unknown names are fine."""

    async def remove_claims(self, namespace: str, owner: str) -> None:
        """Nothing exists of the claims of this owner in the namespace. No pod uses them any more.

        Unknown ones are fine.
        """

    async def retain(self, namespaces: Collection[str], owners: Collection[str]) -> None:
        """Nothing exists of any other namespace, nor of the claims of any other owner, whatever
        an earlier process left of them."""

    async def wait_gone(self, namespace: str, workloads: Collection[str]) -> None:
        """No pod exists of those of these workloads that the last applied spec does not list."""

    def status(self, namespace: str) -> tuple[WorkloadStatus, ...]:
        """What runs now, per workload of the last applied spec."""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """`callback(namespace)` runs after each change of `status`."""

    def service_host(self, namespace: str, service: str) -> str:
        """The stable host sidecars of other pods dial for a service, headless or not.

        An address, or a DNS name that needs no pod's resolver; of an ExternalName that name.
        """

    def endpoints(self, namespace: str, service: str, port: int) -> tuple[str, ...]:
        """`host:port` of each ready pod behind a service port (its sidecar, where it has one).

        Empty while none is ready. Raises NoRoute when the namespace has no such service port, or
        the service is only another name for a host (ExternalName).
        """

    def logs(self, namespace: str, query: LogQuery) -> AsyncIterator[LogLine]:
        """What the workload's containers print, those of its ended pods that are still known too.

        With `follow` it goes on until it is closed, through restarts and new pods. A reader too
        slow for what is printed misses lines; it is told so by a line of ours. Raises NotFound,
        when the first line is asked for, where the namespace has no such workload, and after the
        last line where a workload that is followed has left the spec, or its namespace is gone.
        """
