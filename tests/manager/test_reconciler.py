"""What the cloud says, and which namespaces run because of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from lapdev.cluster.driver import NamespaceSpec
from lapdev.errors import Forbidden, NoRoute, NotReady
from lapdev.manager import reconciler as module
from lapdev.manager.plan import Place
from lapdev.manager.reconciler import Reconciler
from lapdev.model import EnvironmentId, EnvironmentKind, EnvironmentStatus, RouteSnapshot
from lapdev.net.tasks import Tasks
from lapdev.wire.control import (
    ApplyEnvironment,
    EnvironmentRef,
    ServiceTarget,
    SyncEnvironments,
    SyncNeeds,
)
from tests.support.fake_driver import FakeDriver
from tests.support.watch import Watch
from tests.support.wishes import API, NAMESPACE, base, branch, deployment, newer

SHOP = base().environment.id
V2 = branch("v2").environment.id
OTHER = EnvironmentId("otherid000000000")


def other(generation: int = 1) -> ApplyEnvironment:
    """A personal environment in a namespace of its own."""
    more = {"id": OTHER, "name": "mine", "namespace": "mine", "kind": EnvironmentKind.PERSONAL}
    return base(*API, generation=generation, **more)


def listing(*held: ApplyEnvironment) -> SyncEnvironments:
    return SyncEnvironments(
        tuple(EnvironmentRef(h.environment.id, h.environment.generation) for h in held)
    )


class Routes:
    def publish(self, namespace: str, snapshots: Mapping[Place, RouteSnapshot]) -> None: ...
    def forget(self, namespace: str) -> None: ...
    def routes_generation(self, namespace: str, place: Place) -> int:
        return 0

    async def wait_held(self, namespace: str) -> None: ...


@dataclass
class Stage:
    tasks: Tasks
    driver: FakeDriver = field(default_factory=FakeDriver)
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        self.reconciler = Reconciler(self.driver, self.tasks, Routes(), self.watch)

    def tell(self, *held: ApplyEnvironment) -> SyncNeeds:
        """A sync, and then all of it, as the cloud does it."""
        needs = self.reconciler.sync(listing(*held))
        for item in held:
            if item.environment.id in needs.environments:
                self.reconciler.apply(item)
        return needs

    def status(self, environment: EnvironmentId) -> EnvironmentStatus | None:
        report = self.reconciler.report(environment)
        return report.status if report else None

    async def until_ready(self, *environments: EnvironmentId) -> None:
        ready = EnvironmentStatus.READY
        await self.watch.until(lambda: all(self.status(e) is ready for e in environments))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Tasks() as tasks:
        yield Stage(tasks)


async def test_a_sync_names_what_is_missing_and_then_it_runs(stage: Stage) -> None:
    needs = stage.tell(base(), branch("v2", API[0]), other())
    assert needs.environments == (SHOP, V2, OTHER)
    await stage.until_ready(SHOP, V2, OTHER)
    assert len(stage.driver.pods(NAMESPACE)) == 3
    assert len(stage.driver.pods("mine")) == 1
    assert stage.reconciler.environments() == [SHOP, V2, OTHER]


async def test_a_second_sync_needs_only_what_is_newer(stage: Stage) -> None:
    stage.tell(base(generation=3), other(generation=3))
    assert stage.tell(base(generation=3), other(generation=4)).environments == (OTHER,)
    assert stage.tell(base(generation=2), other(generation=4)).environments == ()


async def test_nothing_is_touched_before_the_first_telling_is_complete(stage: Stage) -> None:
    held = base(), branch("v2", API[0])
    stage.reconciler.sync(listing(*held))
    stage.reconciler.apply(held[0])
    stage.reconciler.apply(held[1])
    await stage.until_ready(SHOP, V2)
    assert len(stage.driver.applied) == 1, "the first spec has the branch's workloads already"


async def test_an_environment_deleted_during_the_first_telling_is_not_waited_for(
    stage: Stage,
) -> None:
    stage.reconciler.sync(listing(base(), branch("v2")))
    stage.reconciler.apply(base())
    await stage.reconciler.delete(V2)
    await stage.until_ready(SHOP)


async def test_the_first_telling_is_not_waited_for_without_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_SYNC_TIMEOUT", 0.001)
    stage.reconciler.sync(listing(base(), branch("v2")))
    stage.reconciler.apply(base())
    await stage.until_ready(SHOP)


async def test_a_sync_of_nothing_is_complete_at_once(stage: Stage) -> None:
    assert stage.tell().environments == ()
    stage.reconciler.apply(base())
    await stage.until_ready(SHOP)


async def test_an_older_generation_is_ignored(stage: Stage) -> None:
    stage.tell(base(generation=5))
    await stage.until_ready(SHOP)
    stage.reconciler.apply(newer(base(), 4, manifests=API))
    report = stage.reconciler.report(SHOP)
    assert report is not None
    assert report.generation == 5
    stage.reconciler.apply(newer(base(), 6, manifests=API))
    await stage.watch.until(lambda: len(stage.driver.pods(NAMESPACE)) == 1)


async def test_what_a_later_sync_does_not_list_is_deleted(stage: Stage) -> None:
    stage.tell(base(), branch("v2", API[0]), other())
    await stage.until_ready(SHOP, V2, OTHER)
    stage.tell(base())
    await stage.watch.until(lambda: not stage.driver.pods("mine"))
    await stage.watch.until(lambda: len(stage.driver.pods(NAMESPACE)) == 2)
    assert stage.reconciler.report(OTHER) is None


async def test_deleting_a_branch_returns_when_nothing_of_it_runs(stage: Stage) -> None:
    stage.tell(base(), branch("v2", API[0]))
    await stage.until_ready(SHOP, V2)
    await stage.reconciler.delete(V2)
    assert len(stage.driver.pods(NAMESPACE)) == 2
    assert stage.reconciler.report(V2) is None
    assert stage.status(SHOP) is EnvironmentStatus.READY


async def test_deleting_a_base_returns_when_the_namespace_is_gone(stage: Stage) -> None:
    stage.tell(base())
    await stage.until_ready(SHOP)
    await stage.reconciler.delete(SHOP)
    assert stage.driver.pods(NAMESPACE) == []
    with pytest.raises(Forbidden):
        stage.reconciler.check_target(ServiceTarget(NAMESPACE, "api", 80))
    await stage.reconciler.delete(SHOP)


async def test_a_namespace_can_come_back(stage: Stage) -> None:
    stage.tell(base())
    await stage.until_ready(SHOP)
    await stage.reconciler.delete(SHOP)
    stage.reconciler.apply(base(generation=2))
    await stage.until_ready(SHOP)
    assert len(stage.driver.pods(NAMESPACE)) == 2


async def test_an_environment_that_is_being_deleted_is_not_started(stage: Stage) -> None:
    dying = base(status=EnvironmentStatus.DELETING)
    stage.tell(dying, other())
    await stage.until_ready(OTHER)
    assert stage.reconciler.environments() == [OTHER]
    assert stage.driver.pods(NAMESPACE) == []


async def test_an_environment_that_moves_leaves_its_old_namespace(stage: Stage) -> None:
    stage.tell(other())
    await stage.until_ready(OTHER)
    moved = base(
        *API,
        generation=2,
        id=OTHER,
        name="mine",
        namespace="new",
        kind=EnvironmentKind.PERSONAL,
    )
    stage.reconciler.apply(moved)
    await stage.watch.until(lambda: stage.driver.pods("new") and not stage.driver.pods("mine"))


class HangingDriver(FakeDriver):
    """Takes for ever over one namespace."""

    async def apply(self, spec: NamespaceSpec) -> None:
        if spec.name == NAMESPACE:
            await asyncio.Event().wait()
        await super().apply(spec)


async def test_a_namespace_that_hangs_does_not_delay_another() -> None:
    async with Tasks() as tasks:
        stage = Stage(tasks, HangingDriver())
        stage.tell(base(), other())
        await stage.until_ready(OTHER)
        assert stage.status(SHOP) is EnvironmentStatus.STARTING


# Targets


async def test_targets_are_checked_against_namespaces_and_services(stage: Stage) -> None:
    target = ServiceTarget(NAMESPACE, "api", 80)
    with pytest.raises(NotReady):
        stage.reconciler.check_target(target)
    stage.tell(base())
    await stage.until_ready(SHOP)
    stage.reconciler.check_target(target)
    with pytest.raises(NoRoute):
        stage.reconciler.check_target(ServiceTarget(NAMESPACE, "api", 22))
    with pytest.raises(Forbidden, match="kube-system"):
        stage.reconciler.check_target(ServiceTarget("kube-system", "api", 80))


async def test_pod_changes_are_told_as_changes_of_the_environments(stage: Stage) -> None:
    stage.tell(base(deployment("api", ports={"http": 8080}), API[1]))
    await stage.until_ready(SHOP)
    stage.driver.make_ready(NAMESPACE, ready=False)
    await stage.watch.until(lambda: stage.status(SHOP) is EnvironmentStatus.STARTING)
    stage.reconciler.namespace_changed("unknown")
