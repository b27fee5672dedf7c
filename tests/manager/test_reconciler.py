"""What the cloud says, and which namespaces run because of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field

import pytest

from lapdev.cluster.driver import LogQuery, NamespaceSpec
from lapdev.errors import ClusterError, Forbidden, NoRoute, NotFound, NotReady
from lapdev.manager import reconciler as module
from lapdev.manager.plan import Place
from lapdev.manager.reconciler import Reconciler
from lapdev.model import EnvironmentId, EnvironmentKind, EnvironmentStatus, RouteSnapshot
from lapdev.net.tasks import Tasks
from lapdev.wire.control import (
    ApplyEnvironment,
    EnvironmentRef,
    LogsTarget,
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


# What an earlier process left, and what is going


class NotingDriver(FakeDriver):
    """Notes what it is asked for, in order, and lets pods of a branch end when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, set[str]]] = []
        self.owners_kept: set[str] = set()
        self.trouble: Exception | None = None
        self.ended = asyncio.Event()
        self.waited_for: list[set[str]] = []
        self.waiting = asyncio.Event()

    async def apply(self, spec: NamespaceSpec) -> None:
        self.asked.append(("apply", {spec.name}))
        await super().apply(spec)

    async def retain(self, namespaces: Collection[str], owners: Collection[str]) -> None:
        self.asked.append(("retain", set(namespaces)))
        self.owners_kept = set(owners)
        if self.trouble:
            raise self.trouble

    async def wait_gone(self, namespace: str, workloads: Collection[str]) -> None:
        self.waited_for.append(set(workloads))
        self.waiting.set()
        await self.ended.wait()


@pytest.fixture
async def noting(stage: Stage) -> NotingDriver:
    stage.driver = driver = NotingDriver()
    stage.__post_init__()
    return driver


async def test_what_an_earlier_process_left_goes_before_anything_is_started(
    stage: Stage, noting: NotingDriver
) -> None:
    stage.tell(base(), other())
    await stage.until_ready(SHOP, OTHER)
    first, *later = noting.asked
    assert first == ("retain", {NAMESPACE, "mine"})
    assert noting.owners_kept == {SHOP, OTHER}
    assert sorted(name for _, names in later for name in names) == ["mine", NAMESPACE]
    stage.tell(base())
    stage.reconciler.apply(base(generation=2))
    await stage.until_ready(SHOP)
    assert [word for word, _ in noting.asked].count("retain") == 1


async def test_nothing_is_an_orphan_while_something_has_not_come(
    stage: Stage, noting: NotingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_SYNC_TIMEOUT", 0.001)
    stage.reconciler.sync(listing(base(), other()))
    stage.reconciler.apply(base())
    await stage.until_ready(SHOP)
    assert noting.asked == [("apply", {NAMESPACE})]


async def test_orphans_that_cannot_be_removed_stop_nobody(
    stage: Stage, noting: NotingDriver
) -> None:
    noting.trouble = ClusterError("a folder is not ours")
    stage.tell(base())
    await stage.until_ready(SHOP)


async def test_deleting_returns_when_the_pods_have_ended_however_often_it_is_asked(
    stage: Stage, noting: NotingDriver
) -> None:
    stage.tell(base(), branch("v2", API[0]))
    await stage.until_ready(SHOP, V2)
    names = {pod.workload.name for pod in noting.pods(NAMESPACE)} - {"api", "web"}
    async with Tasks() as tasks:
        first = tasks.spawn(stage.reconciler.delete(V2), "first")
        second = tasks.spawn(stage.reconciler.delete(V2), "second")
        await noting.waiting.wait()
        assert not first.done()
        assert not second.done()
        assert noting.claims_removed == []  # its pods may still write to them
        noting.ended.set()
        await asyncio.gather(first, second)
    assert noting.waited_for == [names]
    assert noting.claims_removed == [(NAMESPACE, V2)]
    await stage.reconciler.delete(V2)


async def test_an_environment_that_is_no_longer_listed_is_waited_for_by_a_delete_that_follows(
    stage: Stage, noting: NotingDriver
) -> None:
    stage.tell(base(), branch("v2", API[0]))
    await stage.until_ready(SHOP, V2)
    withdrawn: list[EnvironmentId] = []
    stage.reconciler.on_withdrawn = withdrawn.append
    stage.tell(base())
    assert withdrawn == [V2]
    async with Tasks() as tasks:
        deleting = tasks.spawn(stage.reconciler.delete(V2), "delete")
        await noting.waiting.wait()
        assert not deleting.done()
        noting.ended.set()
        await deleting


# Logs


def logs(environment: EnvironmentId, workload: str, container: str = "") -> LogsTarget:
    return LogsTarget(environment, workload, container, lines=7, follow=True)


async def test_logs_are_found_by_the_names_users_know(stage: Stage) -> None:
    with pytest.raises(NotReady, match="just been started"):
        stage.reconciler.find_logs(logs(SHOP, "api"))
    stage.tell(base(), branch("v2", API[0]))
    with pytest.raises(NotReady):
        stage.reconciler.find_logs(logs(SHOP, "api"))
    await stage.until_ready(SHOP, V2)
    found = stage.reconciler.find_logs(logs(SHOP, "api", "main"))
    assert found == (NAMESPACE, LogQuery("api", "main", 7, follow=True))
    namespace, query = stage.reconciler.find_logs(logs(V2, "api"))
    assert namespace == NAMESPACE
    assert query.workload in {pod.workload.name for pod in stage.driver.pods(NAMESPACE)} - {"api"}


async def test_logs_that_are_not_there_are_refused_with_what_is(stage: Stage) -> None:
    stage.tell(base(), branch("v2", API[0]), branch("bad", deployment("no", command="x")))
    await stage.until_ready(SHOP, V2)
    for target, error, text in (
        (logs(SHOP, "apo"), NoRoute, "environment shop runs no workload apo; it runs api, web"),
        (logs(V2, "web"), NoRoute, "environment v2 runs no workload web; it runs api"),
        (logs(SHOP, "api", "mian"), NoRoute, "workload api has no container mian; it has main"),
        (logs(branch("bad").environment.id, "no"), NoRoute, "environment bad .* it runs none"),
        (logs(OTHER, "api"), NotFound, "otherid000000000 is not in this cluster"),
    ):
        with pytest.raises(error, match=text):
            stage.reconciler.find_logs(target)


async def test_logs_of_a_branch_that_is_refused_say_why() -> None:
    async with Tasks() as tasks:
        stage = Stage(tasks)
        bad = deployment("api", ports={"http": 8080})
        del bad["spec"]["template"]["spec"]["containers"][0]["command"]
        stage.tell(base(), branch("v2", bad))
        await stage.watch.until(lambda: stage.status(V2) is EnvironmentStatus.FAILED)
        with pytest.raises(NotReady, match="no command"):
            stage.reconciler.find_logs(logs(V2, "api"))
