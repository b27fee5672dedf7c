"""What should exist in a namespace, and which routes its sidecars should hold. Pure.

In: the base environment of the namespace (personal or shared), its branches, their intercepts, as
the cloud sent them. Out: the `NamespaceSpec` for the driver and one `RouteSnapshot` per workload.

- Every pod carries the label `lapdev.dev/environment`, every selector asks for it. So a branch's
  copy of a workload keeps its own labels and still is behind no Service of the base.
- A workload behind a Service gets a sidecar with one proxy port per service port; the Service
  targets the proxy port, the sidecar the app's.
- A branch's copy of `api` runs as `api-<hash>` behind its own Services `<service>-<hash>`, one for
  each base Service that selects the base's `api`, whatever those Services are called.
- A branch route is offered as soon as the branch wants the workload, also while no pod of it is
  ready: the sidecar that cannot connect falls back, and needs no second snapshot when it can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lapdev.cluster.driver import NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError, LapdevError
from lapdev.manager.proxy_ports import ProxyPorts
from lapdev.manager.workloads import (
    ENVIRONMENT_LABEL,
    WORKLOAD_LABEL,
    Workload,
    labelled,
    read_workloads,
    selects,
    suffixed,
)
from lapdev.model import (
    Environment,
    EnvironmentId,
    EnvironmentKind,
    InterceptRoute,
    Service,
    SidecarIdentity,
)
from lapdev.wire.control import ApplyEnvironment, InterceptGrant


@dataclass(frozen=True, slots=True)
class Place:
    """A workload of an environment, by the names users know."""

    environment: EnvironmentId
    workload: str


@dataclass(frozen=True, slots=True)
class BranchService:
    """A branch's own Service of one workload: a branch route without its host."""

    branch: EnvironmentId
    branch_name: str
    base_service: str
    """The base's, for which it stands."""
    service: str
    ports: tuple[int, ...]


@dataclass(slots=True)
class NamespacePlan:
    """One namespace as it should be."""

    base: Environment
    generation: int
    """The newest among the base and its branches: whatever changed, a snapshot gets a newer one."""
    spec: NamespaceSpec
    services: tuple[Service, ...]
    """The base's Services as users wrote them."""
    places: dict[Place, str]
    """Every workload that should run, and its name in the spec."""
    branch_services: dict[str, list[BranchService]]
    """Workload of the base → what its sidecar may divert to."""
    intercepts: dict[str, list[InterceptRoute]]
    """Workload of the base → the laptops that take its traffic, or a branch's of it."""
    names: dict[EnvironmentId, str]
    problems: dict[EnvironmentId, str] = field(default_factory=dict)
    """Environments that cannot run as asked, and why. The others are unaffected."""


def plan_namespace(
    held: Iterable[ApplyEnvironment], refused: Mapping[EnvironmentId, str] | None = None
) -> NamespacePlan | None:
    """The plan for everything the cloud wants in one namespace; None when no base is wanted.

    Args:
        held: environments of the namespace.
        refused: branches the driver cannot run, and why: their workloads are left out.

    Raises:
        ConfigError: the base itself cannot be planned.
    """
    wanted = sorted(held, key=lambda item: item.environment.id)
    bases = [item for item in wanted if item.environment.kind is not EnvironmentKind.BRANCH]
    if not bases:
        return None
    draft = _Draft(bases[0].environment)
    for other in bases[1:]:
        draft.problems[other.environment.id] = (
            f"namespace {draft.base.namespace} belongs to environment {draft.base.name}"
        )
    draft.intercept(bases[0].intercepts, None)
    for item in wanted:
        branch = item.environment
        if branch.kind is not EnvironmentKind.BRANCH:
            continue
        if branch.base != draft.base.id:
            draft.problems[branch.id] = "its base is not the environment of this namespace"
            continue
        draft.intercept(item.intercepts, branch.id)
        if refused and branch.id in refused:
            draft.problems[branch.id] = refused[branch.id]
        else:
            draft.add_branch(branch)
    return draft.finish(max(item.environment.generation for item in wanted))


def explain(error: LapdevError) -> str:
    """What is wrong and what to do about it, in one line."""
    return f"{error.detail} ({error.hint})" if error.hint else error.detail


# Drafting


class _Draft:
    """A plan while environments are added to it."""

    def __init__(self, base: Environment) -> None:
        self.base = base
        self.problems: dict[EnvironmentId, str] = {}
        self._names = {base.id: base.name}
        self._places: dict[Place, str] = {}
        self._specs: list[WorkloadSpec] = []
        self._branch_services: dict[str, list[BranchService]] = {}
        self._intercepts: dict[str, list[InterceptRoute]] = {}
        self._services = parse_objects(base.manifests).services
        self._workloads = {found.name: found for found in read_workloads(base)}
        self._spec_services = self._add_base()

    def _add_base(self) -> list[Service]:
        proxies = ProxyPorts(self._services)
        rewritten = []
        for service in self._services:
            behind = self._behind(service)
            ports = tuple(proxies.stand_before(service, port, behind) for port in service.ports)
            selector = {**service.selector, ENVIRONMENT_LABEL: self.base.id}
            rewritten.append(dataclasses.replace(service, selector=selector, ports=ports))
        for workload in self._workloads.values():
            self._add_workload(self.base, workload, workload.name, proxies)
        return rewritten

    def add_branch(self, branch: Environment) -> None:
        """Every workload of the branch that can run is in the plan; the others are its problem."""
        self._names[branch.id] = branch.name
        problems: list[str] = []
        try:
            for workload in read_workloads(branch):
                try:
                    self._add_branch_workload(branch, workload)
                except ConfigError as exc:
                    problems.append(explain(exc))
        except ConfigError as exc:
            problems.append(explain(exc))
        if problems:
            self.problems[branch.id] = "; ".join(problems)

    def _add_branch_workload(self, branch: Environment, workload: Workload) -> None:
        original = self._workloads.get(workload.name)
        if original is None:
            raise ConfigError(
                f"workload {workload.name} is not in the base environment {self.base.name}",
                hint="reset it in the branch, or add it to the base",
            )
        proxies = ProxyPorts(self._services)
        name = suffixed(workload.name, branch.id)
        selector = {ENVIRONMENT_LABEL: branch.id, WORKLOAD_LABEL: name}
        services = {
            service.name: dataclasses.replace(
                service,
                name=suffixed(service.name, branch.id, workload.name),
                selector=selector,
                ports=tuple(
                    proxies.stand_before(service, port, [workload]) for port in service.ports
                ),
            )
            for service in self._services
            # The base's labels decide: a branch that changes labels stays behind its Services.
            if selects(service.selector, original.facts.pod.labels)
        }
        self._add_workload(branch, workload, name, proxies)
        self._spec_services.extend(services.values())
        rows = self._branch_services.setdefault(workload.name, [])
        rows.extend(
            BranchService(branch.id, branch.name, name, s.name, tuple(p.port for p in s.ports))
            for name, s in services.items()
        )

    def _add_workload(
        self, owner: Environment, workload: Workload, name: str, proxies: ProxyPorts
    ) -> None:
        ports = proxies.of(workload.name)
        identity = SidecarIdentity(owner.namespace, owner.id, owner.name, workload.name, pod="")
        self._specs.append(
            WorkloadSpec(
                name=name,
                manifest=labelled(workload.manifest, name, owner.id),
                sidecar=SidecarPlan(identity, ports) if ports else None,
            )
        )
        self._places[Place(owner.id, workload.name)] = name

    def intercept(self, grants: Iterable[InterceptGrant], branch: EnvironmentId | None) -> None:
        """The intercepts are attached to the base's workloads, where requests arrive first."""
        for grant in grants:
            intercept = grant.intercept
            route = InterceptRoute(
                intercept=intercept.id,
                branch=branch,
                service=intercept.service,
                ports=tuple(sorted(port.service_port for port in intercept.ports)),
                token=grant.token,
                cloud=grant.cloud,
                include_branches=intercept.include_branches,
            )
            for workload in self._intercepted(intercept.workload, intercept.service):
                self._intercepts.setdefault(workload, []).append(route)

    def _intercepted(self, workload: str, service: str) -> list[str]:
        if workload:
            return [workload]
        return [w.name for s in self._services if s.name == service for w in self._behind(s)]

    def _behind(self, service: Service) -> list[Workload]:
        return [
            w for w in self._workloads.values() if selects(service.selector, w.facts.pod.labels)
        ]

    def finish(self, generation: int) -> NamespacePlan:
        for routes in self._intercepts.values():
            routes.sort(key=lambda route: route.intercept)
        return NamespacePlan(
            base=self.base,
            generation=generation,
            spec=NamespaceSpec(self.base.namespace, tuple(self._specs), tuple(self._spec_services)),
            services=self._services,
            places=self._places,
            branch_services=self._branch_services,
            intercepts=self._intercepts,
            names=self._names,
            problems=self.problems,
        )
