"""What should exist in a namespace, and which routes its sidecars should hold. Pure.

In: the base environment of the namespace (personal or shared), its branches, their intercepts, as
the cloud sent them. Out: the `NamespaceSpec` for the driver and one `RouteSnapshot` per workload.

- Every pod carries the label `lapdev.dev/environment`, every selector asks for it. So a branch's
  copy of a workload keeps its own labels and still is behind no Service of the base.
- A workload behind a Service gets a sidecar with one proxy port per service port; the Service
  targets the proxy port, the sidecar the app's. Whom a Service leads to, and which Services have
  no sidecars behind them, is in `fronts`.
- A workload of any kind may be changed by a branch: its copy of `api` runs as `api-<hash>` behind
  its own Services `<service>-<hash>`, one for each Service that stands before the base's `api`,
  whatever those Services are called. A copied Job or CronJob runs for the branch.
- A branch has the base's ConfigMaps and Secrets, and no volume of the base that it could write to:
  a claim of a copy, unless it is mounted for reading, is the branch's own and goes with the branch.
- A workload's spec says nothing about another's: what is added, changed or removed beside it
  replaces none of its pods.
- A branch route is offered as soon as the branch wants the workload, also while no pod of it is
  ready: the sidecar that cannot connect falls back, and needs no second snapshot when it can.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lapdev.cluster.driver import NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.cluster.manifests import ConfigObject, Manifests, check_references, refers_to
from lapdev.cluster.manifests import Workload as WorkloadFacts
from lapdev.errors import ConfigError, LapdevError
from lapdev.manager.proxy_ports import ProxyPorts
from lapdev.manager.readings import Readings
from lapdev.manager.workloads import (
    ENVIRONMENT_LABEL,
    WORKLOAD_LABEL,
    Workload,
    labelled,
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
    facts: dict[Place, WorkloadFacts]
    """What each says."""
    guarded: frozenset[str]
    """The names in the spec of those with sidecars."""
    branch_services: dict[str, list[BranchService]]
    """Workload of the base → what its sidecar may divert to."""
    intercepts: dict[str, list[InterceptRoute]]
    """Workload of the base → the laptops that take its traffic, or a branch's of it."""
    names: dict[EnvironmentId, str]
    problems: dict[EnvironmentId, str] = field(default_factory=dict)
    """Environments that cannot run as asked, and why. The others are unaffected."""


def plan_namespace(
    held: Iterable[ApplyEnvironment],
    refused: Mapping[EnvironmentId, str] | None = None,
    readings: Readings | None = None,
) -> NamespacePlan | None:
    """The plan for everything the cloud wants in one namespace; None when no base is wanted.

    Args:
        held: environments of the namespace.
        refused: branches the driver cannot run, and why: their workloads are left out.
        readings: what earlier plans have read, so that only what changed is read again.

    Raises:
        ConfigError: the base itself cannot be planned.
    """
    wanted = sorted(held, key=lambda item: item.environment.id)
    bases = [item for item in wanted if item.environment.kind is not EnvironmentKind.BRANCH]
    if not bases:
        return None
    draft = _Draft(bases[0].environment, readings or Readings())
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

    def __init__(self, base: Environment, readings: Readings) -> None:
        self.base = base
        self.problems: dict[EnvironmentId, str] = {}
        self._names = {base.id: base.name}
        self._places: dict[Place, str] = {}
        self._facts: dict[Place, WorkloadFacts] = {}
        self._specs: list[WorkloadSpec] = []
        self._branch_services: dict[str, list[BranchService]] = {}
        self._intercepts: dict[str, list[InterceptRoute]] = {}
        self._readings = readings
        objects = readings.of(base)
        self._manifests = objects.manifests
        self._workloads = {found.name: found for found in objects.workloads}
        self._fronts = readings.fronts(base)
        self._spec_services = self._add_base()

    def _add_base(self) -> list[Service]:
        """Its workloads are in the plan; gives its Services as the driver gets them."""
        fronts, services = self._fronts, self._manifests.services
        proxies = ProxyPorts(
            (service, fronts.behind[service.name]) for service in services if not service.headless
        )
        for workload in self._workloads.values():
            marks = fronts.marks.get(workload.name)
            manifest = labelled(workload, workload.name, self.base.id, marks)
            spec = WorkloadSpec(
                workload.name, manifest, self._sidecar(self.base, workload, proxies)
            )
            self._add(self.base, workload, spec)
        return [
            dataclasses.replace(
                proxies.service(service),
                selector={
                    **service.selector,
                    **fronts.selectors.get(service.name, {}),
                    ENVIRONMENT_LABEL: self.base.id,
                },
            )
            if service.selector
            else service  # it is another name for a host
            for service in services
        ]

    def add_branch(self, branch: Environment) -> None:
        """Every workload of the branch that can run is in the plan; the others are its problem."""
        self._names[branch.id] = branch.name
        problems: list[str] = []
        try:
            for workload in self._readings.of(branch).workloads:
                try:
                    self._add_branch_workload(branch, workload)
                except ConfigError as exc:
                    problems.append(explain(exc))
        except ConfigError as exc:
            problems.append(explain(exc))
        if problems:
            self.problems[branch.id] = "; ".join(problems)

    def _add_branch_workload(self, branch: Environment, workload: Workload) -> None:
        if workload.name not in self._workloads:
            raise ConfigError(
                f"workload {workload.name} is not in the base environment {self.base.name}",
                hint="reset it in the branch, or add it to the base",
            )
        check_references(Manifests((workload.facts,), (), self._manifests.configs))
        # The base's labels decide: a branch that changes labels stays behind its Services.
        before = self._fronts.before.get(workload.name, [])
        proxies = ProxyPorts((service, [workload]) for service in before)
        name = suffixed(workload.name, branch.id)
        manifest = labelled(workload, name, branch.id)
        selector = {ENVIRONMENT_LABEL: branch.id, WORKLOAD_LABEL: name}
        services = {
            service.name: dataclasses.replace(
                proxies.service(service),
                name=suffixed(service.name, branch.id, workload.name),
                selector=selector,
            )
            for service in before
        }
        sidecar = self._sidecar(branch, workload, proxies)
        spec = WorkloadSpec(name, manifest, sidecar, claims_of=branch.id)
        self._add(branch, workload, spec)
        self._spec_services.extend(services.values())
        rows = self._branch_services.setdefault(workload.name, [])
        rows.extend(
            BranchService(branch.id, branch.name, name, s.name, tuple(p.port for p in s.ports))
            for name, s in services.items()
        )

    def _add(self, owner: Environment, workload: Workload, spec: WorkloadSpec) -> None:
        place = Place(owner.id, workload.name)
        self._specs.append(spec)
        self._places[place] = spec.name
        self._facts[place] = workload.facts

    @staticmethod
    def _sidecar(owner: Environment, workload: Workload, proxies: ProxyPorts) -> SidecarPlan | None:
        ports = proxies.of(workload.name)
        identity = SidecarIdentity(owner.namespace, owner.id, owner.name, workload.name, pod="")
        return SidecarPlan(identity, ports) if ports else None

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
            behind = self._fronts.behind.get(intercept.service, [])
            workload = intercept.workload
            for name in [workload] if workload else [found.name for found in behind]:
                self._intercepts.setdefault(name, []).append(route)

    def _configs(self) -> tuple[ConfigObject, ...]:
        """Those of the base's that some workload refers to."""
        asked = {found for facts in self._facts.values() for found in refers_to(facts.pod)}
        return tuple(item for item in self._manifests.configs if (item.kind, item.name) in asked)

    def finish(self, generation: int) -> NamespacePlan:
        for routes in self._intercepts.values():
            routes.sort(key=lambda route: route.intercept)
        workloads, services = tuple(self._specs), tuple(self._spec_services)
        return NamespacePlan(
            base=self.base,
            generation=generation,
            spec=NamespaceSpec(self.base.namespace, workloads, services, self._configs()),
            services=self._manifests.services,
            places=self._places,
            facts=self._facts,
            guarded=frozenset(spec.name for spec in workloads if spec.sidecar is not None),
            branch_services=self._branch_services,
            intercepts=self._intercepts,
            names=self._names,
            problems=self.problems,
        )
