"""One namespace on its way to what the cloud wants: plan, driver, routes, and how far it is.

One pass at a time; what changes during a pass is taken up by the next. A cluster that fails is
tried again with back-off. A branch the driver cannot run does not keep the others from running.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from lapdev.cluster.driver import Driver, NamespaceSpec
from lapdev.errors import ConfigError, LapdevError, NotReady
from lapdev.log import get_logger
from lapdev.manager.plan import NamespacePlan, Place, explain, plan_namespace
from lapdev.manager.progress import progress
from lapdev.manager.readings import Readings
from lapdev.manager.routes import route_snapshots
from lapdev.model import (
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    RouteSnapshot,
    WorkloadStatus,
)
from lapdev.wire.control import ApplyEnvironment, ReportEnvironment

RETRY_INTERVAL = 0.25
RETRY_MAX_INTERVAL = 30.0
WITHDRAW_TIMEOUT = 5.0
"""Sidecars have this long to give up routes to what is going; then it goes, and they fall back."""

Held = Mapping[EnvironmentId, ApplyEnvironment]


class RouteSink(Protocol):
    """Who brings route snapshots to the sidecars."""

    def publish(self, namespace: str, snapshots: Mapping[Place, RouteSnapshot]) -> None: ...
    def forget(self, namespace: str) -> None: ...
    def routes_generation(self, namespace: str, place: Place) -> int: ...
    async def wait_held(self, namespace: str) -> None: ...


class Namespace:
    """What is wanted in one namespace, and the loop that makes it so."""

    def __init__(
        self,
        name: str,
        driver: Driver,
        routes: RouteSink,
        changed: Callable[[EnvironmentId], None],
    ) -> None:
        """`changed(environment)` runs whenever `report` may answer differently."""
        self.name = name
        self._driver = driver
        self._routes = routes
        self._changed = changed
        self._held: Held = {}
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._readings = Readings()
        self._ran: dict[EnvironmentId, set[str]] = {}
        """The names in the spec of all that ever ran of an environment."""
        self._running: dict[str, WorkloadStatus] | None = None
        """What the driver says of its workloads, until it says that this has changed."""
        self._plan: NamespacePlan | None = None
        self._applied: NamespaceSpec | None = None
        self._accepted: Held = {}
        """The environments in `_applied`, as they were."""
        self._seen: Held = {}
        """What the last pass worked towards, whether it got there or not."""
        self._problems: Mapping[EnvironmentId, str] = {}
        self._failure = ""
        self._published = 0
        """The generation of the routes the sidecars are being told; it never falls."""

    # What is wanted

    def want(self, held: Held) -> None:
        """The next pass works towards `held`."""
        self._held = held
        self._wake.set()

    def settled(self) -> asyncio.Future[None]:
        """Done when a pass that began after this call has succeeded."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._wake.set()
        return done

    async def wait_gone(self, environment: EnvironmentId, settled: asyncio.Future[None]) -> None:
        """No pod or claim of the environment exists any more: not wanted since before `settled`
        was made."""
        await settled
        names = self._ran.pop(environment, set())
        await self._driver.wait_gone(self.name, names)
        await self._driver.remove_claims(self.name, environment)

    @property
    def plan(self) -> NamespacePlan:
        """What runs here now. Raises NotReady: nothing has been started here yet."""
        if self._plan is None:
            problem = self._failure or f"namespace {self.name} is being started"
            raise NotReady(problem, hop="manager")
        return self._plan

    # How far it is

    def report(self, environment: EnvironmentId) -> ReportEnvironment | None:
        """The environment as it runs now; None when it is not wanted here."""
        held = self._held.get(environment)
        if held is None:
            return None
        plan, seen = self._plan, self._seen.get(environment)
        workloads = self._workloads(plan, environment) if plan else ()
        status, detail = self._status(environment, workloads)
        return ReportEnvironment(
            id=environment,
            # Of the pass that gave this status: a newer wish may have come since.
            generation=(seen or held).environment.generation,
            status=status,
            detail=detail,
            workloads=workloads,
            services=plan.services if plan else (),
        )

    def _status(
        self, environment: EnvironmentId, workloads: tuple[WorkloadStatus, ...]
    ) -> tuple[EnvironmentStatus, str]:
        if environment not in self._seen:
            return EnvironmentStatus.STARTING, ""
        if problem := self._problems.get(environment) or self._failure:
            return EnvironmentStatus.FAILED, problem
        return progress(workloads)

    def _workloads(
        self, plan: NamespacePlan, environment: EnvironmentId
    ) -> tuple[WorkloadStatus, ...]:
        if self._running is None:
            self._running = {found.name: found for found in self._driver.status(self.name)}
        found = []
        for place, name in plan.places.items():
            if place.environment != environment:
                continue
            kind = plan.facts[place].kind
            status = self._running.get(name, WorkloadStatus(name, wanted=1, ready=0, kind=kind))
            routes = self._published  # where there is no sidecar, none is behind
            if name in plan.guarded and status.wanted > status.succeeded:
                routes = self._routes.routes_generation(self.name, place)
            found.append(replace(status, name=place.workload, routes_generation=routes))
        return tuple(found)

    def mark_changed(self) -> None:
        """All its environments may have changed, and how its pods are."""
        self._running = None
        for environment in self._held:
            self._changed(environment)

    # Making it so

    async def run(self, gone: Callable[[Namespace], None]) -> None:
        """Passes until nothing is wanted and nothing exists; `gone(self)` is the last thing."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            held = self._held
            try:
                await self._pass(held)
            except Exception as exc:  # one namespace's trouble must not end its loop
                failures += 1
                self._seen = held
                self._waiting = waiting + self._waiting
                self._fail(exc, failures)
                await self._wait_retry(failures)
                continue
            failures, self._failure, self._seen = 0, "", held
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            self.mark_changed()
            if not held and not self._held and not self._wake.is_set():
                gone(self)
                return

    def _fail(self, error: Exception, attempt: int) -> None:
        known = isinstance(error, LapdevError)
        self._failure = explain(error) if isinstance(error, LapdevError) else "internal error"
        get_logger().warning(
            "namespace_failed",
            target=self.name,
            error=self._failure if known else f"{type(error).__name__}: {error}",
            attempt=attempt,
            exc_info=None if known else error,
        )
        self.mark_changed()

    async def _wait_retry(self, failures: int) -> None:
        ceiling = min(RETRY_MAX_INTERVAL, RETRY_INTERVAL * 2 ** min(failures - 1, 10))
        try:
            async with asyncio.timeout(random.uniform(ceiling / 2, ceiling)):  # noqa: S311
                await self._wake.wait()
        except TimeoutError:
            self._wake.set()

    async def _pass(self, held: Held) -> None:
        try:
            plan = await self._run(held)
        except ConfigError as exc:
            plan = await self._run_without_the_refused(held, exc)
        if plan is not None:
            self._plan, self._problems = plan, plan.problems
            self._published = max(self._published, plan.generation)
        if self._plan is not None:
            self._publish(self._plan)

    def _publish(self, plan: NamespacePlan) -> None:
        host = self._driver.service_host
        self._routes.publish(
            self.name, route_snapshots(plan, lambda name: host(self.name, name), self._published)
        )

    async def _withdraw(self, coming: NamespacePlan) -> None:
        """No connected sidecar leads requests to a branch's service that `coming` is without.

        Its pods end after this: a request must not meet a pod that is ending.
        """
        if self._plan is None:
            return
        services, known = {item.name for item in coming.spec.services}, self._plan.branch_services
        kept = {name: [row for row in known[name] if row.service in services] for name in known}
        if kept == known:
            return
        self._publish(replace(self._plan, branch_services=kept))
        try:
            async with asyncio.timeout(WITHDRAW_TIMEOUT):
                await self._routes.wait_held(self.name)
        except TimeoutError:
            get_logger().warning("routes_not_withdrawn", target=self.name)

    async def _run(
        self, held: Held, refused: Mapping[EnvironmentId, str] | None = None
    ) -> NamespacePlan | None:
        """The plan for `held`, after the driver took it up."""
        self._readings.keep(held)
        plan = plan_namespace(held.values(), refused, self._readings)
        if plan is None:
            await self._remove(held)
        elif plan.spec != self._applied:
            await self._withdraw(plan)
            self._applied = None  # whatever a failed attempt leaves is nobody's spec
            for place, name in plan.places.items():
                self._ran.setdefault(place.environment, set()).add(name)
            await self._driver.apply(plan.spec)
            self._applied = plan.spec
        self._accepted = {key: held[key] for key in held if key not in (refused or {})}
        return plan

    async def _remove(self, orphans: Held) -> None:
        await self._driver.delete(self.name)
        self._routes.forget(self.name)
        self._plan = self._applied = None
        self._problems = dict.fromkeys(orphans, "its base environment is gone")

    async def _run_without_the_refused(
        self, held: Held, error: ConfigError
    ) -> NamespacePlan | None:
        """Finds out which branches the driver refuses, and runs the namespace without them.

        Those that ran unchanged stay throughout; each new or changed branch is then tried alone.
        """
        suspects = [
            key
            for key, item in held.items()
            if item.environment.kind is EnvironmentKind.BRANCH and self._accepted.get(key) != item
        ]
        refused = dict.fromkeys(suspects, explain(error))
        try:
            plan = await self._run(held, refused)
        except ConfigError as exc:
            # The base, too.
            return await self._run_what_was_accepted(held, explain(exc))
        for suspect in suspects:
            del refused[suspect]
            try:
                plan = await self._run(held, refused)
            except ConfigError as exc:
                refused[suspect] = explain(exc)
                plan = await self._run(held, refused)
        return plan

    async def _run_what_was_accepted(self, held: Held, problem: str) -> NamespacePlan | None:
        """What ran goes on running as it did, but for what is no longer wanted at all."""
        still = {key: item for key, item in self._accepted.items() if key in held}
        if any(item.environment.kind is not EnvironmentKind.BRANCH for item in still.values()):
            plan = await self._run(still)
        else:
            plan = None
        self._problems = dict.fromkeys(held, problem)
        if plan is not None:
            plan.problems = dict(self._problems)
        return plan
