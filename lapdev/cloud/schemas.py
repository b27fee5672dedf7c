"""What REST bodies look like, in and out. Requests are strict: unknown fields and wrong types are
refused. Responses are stable: fields are added, never renamed.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lapdev.cloud.actions import EnvironmentSummary, EnvironmentView, PutView
from lapdev.model import (
    Cluster,
    ContainerStatus,
    Intercept,
    PreviewUrl,
    Service,
    WorkloadStatus,
)

Port = Annotated[int, Field(ge=1, le=65535)]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CreateEnvironment(_Request):
    """A personal or shared environment from Kubernetes objects."""

    name: str
    kind: Literal["personal", "shared"] = "shared"
    cluster: str = Field("", description="Name or id; may be left out while there is only one.")
    manifests: list[dict[str, Any]]


class CreateBranch(_Request):
    """A branch of a shared environment."""

    name: str


class PutWorkload(_Request):
    """A branch's own version of a workload: a whole manifest, or a patch of the present one."""

    manifest: dict[str, Any] | None = None
    patch: dict[str, dict[str, Any]] | None = Field(
        None,
        description="Container name to any of image, env, command, args, annotations. "
        "The empty name stands for the only container.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.manifest is None) == (self.patch is None):
            raise ValueError("give either manifest or patch")
        return self


class PutEnvironment(_Request):
    """All objects of a personal or shared environment: made, or changed to exactly these."""

    kind: Literal["personal", "shared"] | None = Field(
        None, description="Left out: the one it has; shared for a new one."
    )
    cluster: str = Field("", description="Left out: the one it is in; may name the only one.")
    manifests: list[dict[str, Any]]


class CreatePreview(_Request):
    """A preview URL for a service port."""

    service: str
    port: Port
    tcp: bool = Field(False, description="A port for any protocol over TCP, in place of a URL.")
    answer_timeout: int | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds until an app that has not begun to answer is given up. "
        "0: never; null: as the cloud is set, or as it was.",
    )


class InterceptPort(_Request):
    """A service port and the local port that stands in for it."""

    service_port: Port
    local_port: Port


class CreateIntercept(_Request):
    """A device takes the traffic of the workload behind a service."""

    service: str
    device: DeviceName
    ports: list[InterceptPort] = Field([], description="Empty: all ports of the service.")
    include_branches: bool = False


class ClusterOut(BaseModel):
    """A cluster and whether its manager is connected."""

    id: str
    name: str
    status: str
    detail: str = Field(description="What its machine cannot do for pods, or empty.")

    @classmethod
    def of(cls, cluster: Cluster) -> ClusterOut:
        return cls(
            id=cluster.id, name=cluster.name, status=cluster.status.value, detail=cluster.detail
        )


class PathRouteOut(BaseModel):
    """Which service port answers a path of a preview."""

    path: str
    exact: bool = Field(description="This path only; else everything below it, too.")
    service: str
    port: int


class PreviewOut(BaseModel):
    """A preview URL, or a port for raw TCP."""

    label: str
    environment: str = Field(description="Id of the environment.")
    kind: Literal["http", "tcp"]
    name: str = Field(description="What the Ingress that asked for it is called, or empty.")
    service: str
    port: int
    routes: list[PathRouteOut] = Field(description="First match wins. Empty: all to the service.")
    url: str = Field(description="`http://…`, or `tcp://HOST:PORT`.")
    status: str = Field(description="Why it is not served; empty when it is.")
    answer_timeout: int | None = Field(
        description="Seconds an app may take to begin its answer. 0: any time; "
        "null: as the cloud is set."
    )

    @classmethod
    def of(cls, preview: PreviewUrl, url: str, status: str) -> PreviewOut:
        routes = [
            PathRouteOut(path=r.path, exact=r.exact, service=r.service, port=r.port)
            for r in preview.routes
        ]
        return cls(
            label=preview.label,
            environment=preview.environment,
            kind="http" if preview.tcp_port is None else "tcp",
            name=preview.name,
            service=preview.service,
            port=preview.port,
            routes=routes,
            url=url,
            status=status,
            answer_timeout=preview.answer_timeout,
        )


class InterceptOut(BaseModel):
    """An intercept; it takes traffic while its device is connected."""

    id: str
    environment: str = Field(description="Id of the environment.")
    service: str
    workload: str
    device: str
    device_connected: bool
    ports: list[InterceptPort]
    include_branches: bool

    @classmethod
    def of(cls, intercept: Intercept, connected: bool) -> InterceptOut:
        return cls(
            id=intercept.id,
            environment=intercept.environment,
            service=intercept.service,
            workload=intercept.workload,
            device=intercept.device,
            device_connected=connected,
            ports=[
                InterceptPort(service_port=port.service_port, local_port=port.local_port)
                for port in intercept.ports
            ],
            include_branches=intercept.include_branches,
        )


class ContainerOut(BaseModel):
    """One container of a pod that has several."""

    pod: str
    name: str
    state: str
    restarts: int
    last_exit: str

    @classmethod
    def of(cls, container: ContainerStatus) -> ContainerOut:
        return cls(**dataclasses.asdict(container))


class WorkloadOut(BaseModel):
    """What runs of a workload."""

    name: str
    wanted: int
    ready: int
    restarts: int
    detail: str
    routes_generation: int
    kind: str
    succeeded: int = Field(description="Runs of a Job that were done; they count in ready.")
    failed: str = Field(description="Why it has failed for good, or empty.")
    last_exit: str = Field(description="How a container of it last ended, or empty.")
    containers: list[ContainerOut] = Field(description="Where its pods have several.")

    @classmethod
    def of(cls, workload: WorkloadStatus) -> WorkloadOut:
        return cls(
            name=workload.name,
            wanted=workload.wanted,
            ready=workload.ready,
            restarts=workload.restarts,
            detail=workload.detail,
            routes_generation=workload.routes_generation,
            kind=workload.kind,
            succeeded=workload.succeeded,
            failed=workload.failed,
            last_exit=workload.last_exit,
            containers=[ContainerOut.of(container) for container in workload.containers],
        )


class ServicePortOut(BaseModel):
    """One port of a service."""

    port: int
    target: int | str
    name: str
    protocol: str


class ServiceOut(BaseModel):
    """A service that apps and laptops reach by name."""

    name: str
    ports: list[ServicePortOut]

    @classmethod
    def of(cls, service: Service) -> ServiceOut:
        ports = [
            ServicePortOut(port=p.port, target=p.target, name=p.name, protocol=p.protocol.value)
            for p in service.ports
        ]
        return cls(name=service.name, ports=ports)


class EnvironmentOut(BaseModel):
    """An environment in a list."""

    id: str
    name: str
    kind: str
    cluster: str = Field(description="Name of the cluster.")
    namespace: str
    base: str | None = Field(description="Name of the shared environment a branch belongs to.")
    generation: int
    status: str
    detail: str

    @classmethod
    def of(cls, summary: EnvironmentSummary) -> EnvironmentOut:
        return cls(**_summary_fields(summary))


class EnvironmentDetail(EnvironmentOut):
    """An environment with everything that belongs to it."""

    changed: list[str] = Field(description="A branch's own workloads.")
    workloads: list[WorkloadOut]
    services: list[ServiceOut]
    previews: list[PreviewOut]
    branches: list[str] = Field(description="Names of its branches.")
    intercepts: list[InterceptOut]

    @classmethod
    def of_view(
        cls, view: EnvironmentView, previews: list[PreviewOut], intercepts: list[InterceptOut]
    ) -> EnvironmentDetail:
        own = view.summary.environment
        changed = [m["metadata"]["name"] for m in own.manifests] if own.base else []
        return cls(
            **_summary_fields(view.summary),
            changed=changed,
            workloads=[WorkloadOut.of(workload) for workload in view.live.workloads],
            services=[ServiceOut.of(service) for service in view.live.services],
            previews=previews,
            branches=[branch.name for branch in view.branches],
            intercepts=intercepts,
        )


class ChangesOut(BaseModel):
    """Objects as `Kind/name`, by what became of them."""

    created: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]


class PutOut(EnvironmentDetail):
    """An environment with what the objects put there have changed."""

    changes: ChangesOut
    ignored: list[str] = Field(description="Objects that are accepted and do nothing here.")

    @classmethod
    def of_put(cls, put: PutView, detail: EnvironmentDetail) -> PutOut:
        changes = ChangesOut(
            created=list(put.changes.created),
            changed=list(put.changes.changed),
            removed=list(put.changes.removed),
            unchanged=list(put.changes.unchanged),
        )
        return cls(**dict(detail), changes=changes, ignored=list(put.ignored))


def _summary_fields(summary: EnvironmentSummary) -> dict[str, Any]:
    environment = summary.environment
    return {
        "id": environment.id,
        "name": environment.name,
        "kind": environment.kind.value,
        "cluster": summary.cluster,
        "namespace": environment.namespace,
        "base": summary.base,
        "generation": environment.generation,
        "status": environment.status.value,
        "detail": environment.detail,
    }


class Clusters(BaseModel):
    """All clusters."""

    clusters: list[ClusterOut]


class Environments(BaseModel):
    """All environments."""

    environments: list[EnvironmentOut]


class Previews(BaseModel):
    """Preview URLs of an environment."""

    previews: list[PreviewOut]


class Intercepts(BaseModel):
    """Intercepts of an environment, of a device, or all."""

    intercepts: list[InterceptOut]


class ErrorFields(BaseModel):
    """What failed and what to do."""

    cause: str
    detail: str
    hint: str


class ErrorOut(BaseModel):
    """The one shape of an error."""

    error: ErrorFields
