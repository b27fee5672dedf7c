"""All environments the cloud wants in this cluster, and which namespace each belongs to.

Held in memory only, and told anew by the cloud at every connect. Until the first telling is
complete nothing is started or stopped: a base that arrives before its branches would otherwise
take their pods down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lapdev.cluster.driver import Driver, LogQuery
from lapdev.errors import Forbidden, LapdevError, NotFound, NotReady
from lapdev.log import get_logger
from lapdev.manager.namespace import Namespace, RouteSink
from lapdev.manager.targets import check_port, find_workload
from lapdev.model import EnvironmentId, EnvironmentStatus
from lapdev.net.tasks import Tasks
from lapdev.wire.control import (
    ApplyEnvironment,
    LogsTarget,
    ReportEnvironment,
    ServiceTarget,
    SyncEnvironments,
    SyncNeeds,
)

FIRST_SYNC_TIMEOUT = 30.0
"""How long the environments of the first sync may be on their way. Then we go on without."""


class Reconciler:
    """What is wanted, by environment; each namespace makes its part so."""

    def __init__(
        self,
        driver: Driver,
        tasks: Tasks,
        routes: RouteSink,
        changed: Callable[[EnvironmentId], None],
    ) -> None:
        """`changed(environment)` runs whenever `report` may answer differently."""
        self.on_withdrawn: Callable[[EnvironmentId], None] = lambda _environment: None
        """`on_withdrawn(environment)` runs when it is no longer wanted here."""
        self._driver = driver
        self._tasks = tasks
        self._routes = routes
        self._changed = changed
        self._held: dict[EnvironmentId, ApplyEnvironment] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._awaited: set[EnvironmentId] | None = None
        """Environments of the first sync that have not come; None: no sync yet."""
        self._complete = False
        """Everything wanted was told, and what an earlier process left of the rest is gone."""
        self._beginning = False
        self._leaving: dict[EnvironmentId, asyncio.Task[None]] = {}
        """What waits until nothing of a withdrawn environment runs any more."""
        driver.on_change(self.namespace_changed)

    # What the cloud wants

    def sync(self, message: SyncEnvironments) -> SyncNeeds:
        """What is not listed is going; the answer names what is to be sent."""
        listed = {ref.id: ref.generation for ref in message.environments}
        for environment in [key for key in self._held if key not in listed]:
            self._withdraw(environment)
        needs = tuple(
            key
            for key, generation in listed.items()
            if key not in self._held or self._held[key].environment.generation < generation
        )
        if not self._complete:
            self._awaited = set(needs)
            self._complete_if_told()
            if not self._beginning:
                self._tasks.spawn(self._stop_waiting(), "first-sync")
        return SyncNeeds(needs)

    def apply(self, message: ApplyEnvironment) -> None:
        """The environment is becoming what the message says, unless a newer one is held."""
        environment = message.environment
        held = self._held.get(environment.id)
        if held is not None and held.environment.generation > environment.generation:
            return
        if environment.status is EnvironmentStatus.DELETING:
            self._withdraw(environment.id)
        else:
            self._held[environment.id] = message
            if held is not None and held.environment.namespace != environment.namespace:
                self._want(held.environment.namespace)
            self._want(environment.namespace)
        self._told(environment.id)

    async def delete(self, environment: EnvironmentId) -> None:
        """Nothing of the environment runs any more: its pods have ended. Unknown ones are fine."""
        self._withdraw(environment)
        self._told(environment)
        if leaving := self._leaving.get(environment):
            await asyncio.shield(leaving)  # others may wait for it, too

    def _withdraw(self, environment: EnvironmentId) -> None:
        held = self._held.pop(environment, None)
        if held is None:
            return
        self.on_withdrawn(environment)
        namespace = self._want(held.environment.namespace)
        if self._complete:
            # Asked for before the task begins: by then the namespace may have come to its end.
            gone = namespace.wait_gone(environment, namespace.settled())
            leaving = self._tasks.spawn(gone, f"leave-{environment}")
            self._leaving[environment] = leaving
            leaving.add_done_callback(lambda _: self._leaving.pop(environment, None))

    # What others ask

    def report(self, environment: EnvironmentId) -> ReportEnvironment | None:
        """The environment as it runs now; None when it is not held."""
        held = self._held.get(environment)
        namespace = held and self._namespaces.get(held.environment.namespace)
        return namespace.report(environment) if namespace else None

    def environments(self) -> list[EnvironmentId]:
        return list(self._held)

    def check_target(self, target: ServiceTarget) -> None:
        """Returns if the cloud may dial the target.

        Raises:
            NotReady: we have not been told everything yet, or have not begun with it.
            Forbidden: the namespace is not one of ours.
            NoRoute: it has no such service port.
        """
        if not self._complete:
            raise NotReady("the manager has just been started", hop="manager")
        namespace = self._namespaces.get(target.namespace)
        if namespace is None:
            raise Forbidden(f"namespace {target.namespace} is not managed here", hop="manager")
        check_port(namespace.plan, target.service, target.port)

    def find_logs(self, target: LogsTarget) -> tuple[str, LogQuery]:
        """The namespace, and what to read there.

        Raises:
            NotReady: we have not been told everything yet, or have not begun with it.
            NotFound: the environment is not one of ours.
            NoRoute: it has no such workload or container; says what it has.
        """
        held = self._held.get(target.environment)
        if held is None and not self._complete:
            raise NotReady("the manager has just been started", hop="manager")
        if held is None:
            raise NotFound(f"environment {target.environment} is not in this cluster")
        name = held.environment.namespace
        plan = self._namespaces[name].plan
        workload = find_workload(plan, target.environment, target.workload, target.container)
        return name, LogQuery(workload, target.container, target.lines, target.follow)

    def namespace_changed(self, name: str) -> None:
        """Something about the namespace's pods or their routes has changed."""
        if (namespace := self._namespaces.get(name)) is not None:
            namespace.mark_changed()

    # Namespaces

    def _want(self, name: str) -> Namespace:
        """The namespace is told what is wanted in it, once the first sync is complete."""
        namespace = self._namespaces.get(name)
        if namespace is None:
            namespace = Namespace(name, self._driver, self._routes, self._changed)
            self._namespaces[name] = namespace
            self._tasks.spawn(namespace.run(self._gone), f"namespace-{name}")
        if self._complete:
            namespace.want(
                {
                    key: item
                    for key, item in self._held.items()
                    if item.environment.namespace == name
                }
            )
        return namespace

    def _gone(self, namespace: Namespace) -> None:
        del self._namespaces[namespace.name]

    # The first sync

    def _told(self, environment: EnvironmentId) -> None:
        if self._awaited is not None:
            self._awaited.discard(environment)
            self._complete_if_told()

    def _complete_if_told(self) -> None:
        if not self._beginning and not self._awaited:
            self._beginning = True
            self._tasks.spawn(self._begin(retain=True), "first-passes")

    async def _begin(self, *, retain: bool) -> None:
        if retain:
            # Before anything is started: what is there now and not wanted is an earlier process's.
            namespaces = {item.environment.namespace for item in self._held.values()}
            try:
                await self._driver.retain(namespaces, list(self._held))
            except LapdevError as exc:
                get_logger().warning("orphans_not_removed", error=exc.detail)
        self._complete = True
        for name in list(self._namespaces):
            self._want(name)

    async def _stop_waiting(self) -> None:
        await asyncio.sleep(FIRST_SYNC_TIMEOUT)
        if not self._beginning:
            get_logger().warning("first_sync_incomplete", environment=sorted(self._awaited or ()))
            self._awaited, self._beginning = set(), True
            # What has not come may be in any namespace: nothing is an orphan for sure.
            await self._begin(retain=False)
