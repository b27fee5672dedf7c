"""One namespace: passes, refusals, retries, and what is reported meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from lapdev.cluster.driver import NamespaceSpec
from lapdev.errors import ClusterError, ConfigError, NotReady
from lapdev.manager import namespace as module
from lapdev.manager.namespace import Namespace
from lapdev.manager.plan import Place
from lapdev.model import EnvironmentId, EnvironmentStatus, RouteSnapshot, WorkloadStatus
from lapdev.net.tasks import Tasks
from lapdev.wire.control import ApplyEnvironment, ReportEnvironment
from tests.support.fake_driver import FakeDriver
from tests.support.watch import Watch
from tests.support.wishes import (
    API,
    NAMESPACE,
    WEB,
    as_kind,
    base,
    branch,
    deployment,
    grant,
    newer,
    service,
)

SHOP = base().environment.id
V2 = branch("v2").environment.id


class TroubledDriver(FakeDriver):
    """A fake driver that fails with `troubles`, one per apply, before it works."""

    def __init__(self, *, hold: bool = False) -> None:
        super().__init__(hold=hold)
        self.troubles: list[Exception] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.says: dict[str, WorkloadStatus] = {}
        """What it says of some workloads, whatever their pods do."""
        self.asked = 0

    def say(self, status: WorkloadStatus) -> None:
        self.says[status.name] = status
        self._changed(NAMESPACE)

    def status(self, namespace: str) -> tuple[WorkloadStatus, ...]:
        self.asked += 1
        return tuple(self.says.get(found.name, found) for found in super().status(namespace))

    async def apply(self, spec: NamespaceSpec) -> None:
        self.entered.set()
        await self.gate.wait()
        if self.troubles:
            raise self.troubles.pop(0)
        await super().apply(spec)


@dataclass
class Routes:
    """Remembers what was published."""

    published: list[Mapping[Place, RouteSnapshot]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def publish(self, namespace: str, snapshots: Mapping[Place, RouteSnapshot]) -> None:
        self.published.append(snapshots)

    def forget(self, namespace: str) -> None:
        self.forgotten.append(namespace)

    def routes_generation(self, namespace: str, place: Place) -> int:
        return self.published[-1][place].generation if self.published else 0

    async def wait_held(self, namespace: str) -> None:
        return


@dataclass
class Stage:
    """A namespace with everything around it."""

    tasks: Tasks
    driver: TroubledDriver = field(default_factory=TroubledDriver)
    routes: Routes = field(default_factory=Routes)
    watch: Watch = field(default_factory=Watch)
    gone: list[Namespace] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.namespace = Namespace(NAMESPACE, self.driver, self.routes, self.watch)
        self.driver.on_change(lambda _: self.namespace.mark_changed())
        self.tasks.spawn(self.namespace.run(self._gone), "namespace")

    def _gone(self, namespace: Namespace) -> None:
        self.gone.append(namespace)
        self.watch()

    def want(self, *held: ApplyEnvironment) -> None:
        self.namespace.want({item.environment.id: item for item in held})

    def report(self, environment: EnvironmentId = SHOP) -> ReportEnvironment:
        found = self.namespace.report(environment)
        assert found is not None
        return found

    async def until(self, status: EnvironmentStatus, environment: EnvironmentId = SHOP) -> None:
        await self.watch.until(lambda: self.report(environment).status is status)

    async def settle(self, *held: ApplyEnvironment) -> None:
        self.want(*held)
        async with asyncio.timeout(10):
            await self.namespace.settled()

    def pods(self) -> list[object]:
        return list(self.driver.pods(NAMESPACE))


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(module, "RETRY_INTERVAL", 0.001)
    async with Tasks() as tasks:
        yield Stage(tasks)


async def test_what_is_wanted_runs_and_is_reported_ready(stage: Stage) -> None:
    stage.want(base(generation=4))
    assert stage.report().status is EnvironmentStatus.STARTING
    await stage.until(EnvironmentStatus.READY)
    report = stage.report()
    assert report.generation == 4
    assert [(w.name, w.wanted, w.ready, w.routes_generation) for w in report.workloads] == [
        ("api", 1, 1, 4),
        ("web", 1, 1, 4),
    ]
    assert [service.name for service in report.services] == ["api", "web"]


async def test_an_environment_is_starting_until_every_replica_of_its_own_is_ready(
    stage: Stage,
) -> None:
    stage.driver.hold = True
    await stage.settle(base(), branch("v2", API[0]))
    stage.driver.make_ready(NAMESPACE, "api")
    assert stage.report().status is EnvironmentStatus.STARTING
    stage.driver.make_ready(NAMESPACE, "web")
    assert stage.report().status is EnvironmentStatus.READY
    assert stage.report(V2).status is EnvironmentStatus.STARTING
    stage.driver.make_ready(NAMESPACE)
    assert stage.report(V2).status is EnvironmentStatus.READY


async def test_a_branchs_workloads_are_reported_by_the_names_users_know(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0]))
    await stage.until(EnvironmentStatus.READY, V2)
    assert [workload.name for workload in stage.report(V2).workloads] == ["api"]
    assert [workload.name for workload in stage.report().workloads] == ["api", "web"]
    assert [service.name for service in stage.report(V2).services] == ["api", "web"]


async def test_a_branch_without_changes_is_ready(stage: Stage) -> None:
    await stage.settle(base(), branch("v2"))
    assert stage.report(V2).status is EnvironmentStatus.READY


async def test_routes_follow_the_driver_and_carry_its_service_hosts(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0], generation=7))
    snapshot = stage.routes.published[-1][Place(SHOP, "api")]
    assert snapshot.generation == 7
    (row,) = snapshot.branches
    service, _, rest = row.ports["api:80"].partition(".")
    assert rest == "shop.svc:80"
    assert service in {item.name for item in stage.driver.applied[-1].services}


async def test_workloads_without_sidecars_are_never_behind_with_routes(stage: Stage) -> None:
    class Unconnected(Routes):
        def routes_generation(self, namespace: str, place: Place) -> int:
            return 0

    stage.namespace._routes = Unconnected()
    idle = deployment("web", replicas=0, ports={"http": 3000})
    await stage.settle(base(deployment("worker"), *API, idle, WEB[1], generation=4))
    generations = {w.name: w.routes_generation for w in stage.report().workloads}
    assert generations == {"worker": 4, "api": 0, "web": 4}


async def test_a_change_of_routes_alone_does_not_touch_the_driver(stage: Stage) -> None:
    await stage.settle(base())
    await stage.settle(newer(base(), 2, grant("i1")))
    assert len(stage.driver.applied) == 1
    assert len(stage.routes.published) == 2
    assert stage.routes.published[-1][Place(SHOP, "api")].intercepts[0].intercept == "i1"
    assert stage.report().generation == 2


async def test_changes_during_a_pass_are_taken_up_together_by_the_next(stage: Stage) -> None:
    stage.driver.gate.clear()
    stage.want(base())
    await stage.driver.entered.wait()
    for generation in range(2, 9):
        api = deployment("api", command=f"sleep {generation}", ports={"http": 8080})
        stage.want(newer(base(), generation, manifests=(api, API[1])))
    stage.driver.gate.set()
    await stage.namespace.settled()
    assert len(stage.driver.applied) == 2
    assert stage.report().generation == 8


async def test_a_report_during_a_pass_tells_the_generation_its_status_belongs_to(
    stage: Stage,
) -> None:
    await stage.settle(base(generation=1))
    await stage.until(EnvironmentStatus.READY)
    stage.driver.gate.clear()
    stage.driver.entered.clear()
    stage.want(newer(base(), 2, manifests=API))
    await stage.driver.entered.wait()
    assert (stage.report().status, stage.report().generation) == (EnvironmentStatus.READY, 1)
    stage.driver.gate.set()


async def test_routes_carry_the_generation_they_were_made_of(stage: Stage) -> None:
    stage.driver.gate.clear()
    stage.want(base(generation=1))
    await stage.driver.entered.wait()
    stage.want(newer(base(), 2, grant("i1")))
    stage.driver.gate.set()
    await stage.namespace.settled()
    snapshots = [published[Place(SHOP, "api")] for published in stage.routes.published]
    assert [(s.generation, len(s.intercepts)) for s in snapshots] == [(1, 0), (2, 1)]


async def test_a_deleted_branch_leaves_no_pod_and_no_row_and_generations_go_on(
    stage: Stage,
) -> None:
    await stage.settle(base(generation=3), branch("v2", API[0], generation=9))
    await stage.settle(base(generation=3))
    assert len(stage.pods()) == 2
    snapshot = stage.routes.published[-1][Place(SHOP, "api")]
    assert snapshot.branches == ()
    assert snapshot.generation == 9
    assert stage.namespace.report(V2) is None


async def test_without_a_base_the_namespace_goes_and_its_branches_say_why(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0]))
    await stage.settle(branch("v2", API[0]))
    assert stage.pods() == []
    assert stage.routes.forgotten == [NAMESPACE]
    assert stage.report(V2).status is EnvironmentStatus.FAILED
    assert stage.report(V2).detail == "its base environment is gone"
    assert stage.gone == []


async def test_a_namespace_nobody_wants_ends(stage: Stage) -> None:
    await stage.settle(base())
    stage.want()
    await stage.watch.until(lambda: stage.gone)
    assert stage.gone == [stage.namespace]
    assert stage.pods() == []
    assert stage.namespace.report(SHOP) is None


class Careful(Routes):
    """Notes how many specs the driver had taken when each withdrawal was waited for."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self.withdrawn: list[tuple[int, list[str]]] = []
        self.held = asyncio.Event()

    async def wait_held(self, namespace: str) -> None:
        rows = self.published[-1][Place(SHOP, "api")].branches
        self.withdrawn.append((len(self._stage.driver.applied), [row.name for row in rows]))
        self._stage.watch()
        await self.held.wait()


async def test_routes_to_a_branch_are_given_up_before_its_pods_end(stage: Stage) -> None:
    stage.namespace._routes = routes = Careful(stage)
    await stage.settle(base(), branch("v2", API[0]), branch("v3", API[0]))
    assert routes.withdrawn == [], "nothing was there to withdraw"
    stage.want(base(), branch("v3", API[0]))
    await stage.watch.until(lambda: routes.withdrawn)
    assert routes.withdrawn == [(1, ["v3"])]
    assert len(stage.pods()) == 4, "they wait for the sidecars"
    routes.held.set()
    await stage.namespace.settled()
    assert len(stage.pods()) == 3


async def test_a_sidecar_that_does_not_answer_holds_up_no_removal_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WITHDRAW_TIMEOUT", 0.001)
    stage.namespace._routes = Careful(stage)
    await stage.settle(base(), branch("v2", API[0]))
    await stage.settle(base())
    assert len(stage.pods()) == 2


async def test_a_refused_change_gives_back_the_routes_it_withdrew(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0]), branch("v3", API[0]))
    bad = newer(base(), 2, manifests=(without_command("api"), API[1]))
    await stage.settle(bad, branch("v2", generation=2), branch("v3", generation=2))
    last, before = (
        [row.name for row in published[Place(SHOP, "api")].branches]
        for published in reversed(stage.routes.published[-2:])
    )
    assert (before, last) == ([], ["v2", "v3"])


# Trouble


async def test_a_cluster_error_is_reported_and_tried_again_until_it_works(stage: Stage) -> None:
    seen: list[tuple[EnvironmentStatus, str]] = []

    def note(_: EnvironmentId) -> None:
        seen.append((stage.report().status, stage.report().detail))
        stage.watch()

    stage.namespace._changed = note
    stage.driver.troubles = [ClusterError("no memory", hint="add some"), ClusterError("no disk")]
    stage.want(base())
    await stage.until(EnvironmentStatus.READY)
    failed = EnvironmentStatus.FAILED
    assert (failed, "no memory (add some)") in seen
    assert (failed, "no disk") in seen
    assert stage.report().detail == ""


async def test_a_driver_that_breaks_its_contract_does_not_end_the_loop(stage: Stage) -> None:
    stage.driver.troubles = [ZeroDivisionError("oops")]
    stage.want(base())
    await stage.until(EnvironmentStatus.READY)


async def test_whoever_waits_for_a_pass_waits_through_its_failures(stage: Stage) -> None:
    await stage.settle(base())
    stage.driver.troubles = [ClusterError("busy"), ClusterError("busy")]
    await stage.settle(newer(base(), 2, manifests=API))
    assert stage.driver.troubles == []
    assert len(stage.pods()) == 1


def without_command(name: str) -> dict[str, object]:
    """A manifest that only the driver refuses."""
    manifest = deployment(name, ports={"http": 8080})
    del manifest["spec"]["template"]["spec"]["containers"][0]["command"]
    return manifest


async def test_a_base_that_cannot_run_is_failed_with_the_drivers_reason(stage: Stage) -> None:
    await stage.settle(base(without_command("api"), API[1]))
    assert stage.report().status is EnvironmentStatus.FAILED
    assert "no command" in stage.report().detail
    assert "annotation" in stage.report().detail, "the remedy is told too"


async def test_a_bad_change_of_the_base_leaves_what_runs_running(stage: Stage) -> None:
    await stage.settle(base())
    await stage.settle(newer(base(), 2, manifests=(without_command("api"),)))
    assert (stage.report().status, stage.report().generation) == (EnvironmentStatus.FAILED, 2)
    assert len(stage.pods()) == 2
    await stage.settle(newer(base(), 3))
    await stage.until(EnvironmentStatus.READY)
    assert len(stage.pods()) == 2


async def test_a_branch_is_deleted_while_its_base_cannot_be_changed(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0]), branch("v3", API[0]))
    bad = newer(base(), 2, manifests=(without_command("api"), API[1]))
    await stage.settle(bad, branch("v2", API[0]), branch("v3", API[0]))
    assert len(stage.pods()) == 4
    await stage.settle(bad, branch("v3", API[0]))
    assert len(stage.pods()) == 3
    assert stage.report().status is EnvironmentStatus.FAILED
    assert "no command" in stage.report().detail
    rows = stage.routes.published[-1][Place(SHOP, "api")].branches
    assert [row.name for row in rows] == ["v3"]
    await stage.settle(newer(base(), 3), branch("v3", API[0]))
    await stage.until(EnvironmentStatus.READY)
    assert len(stage.pods()) == 3


async def test_a_base_that_never_could_run_starts_nothing(stage: Stage) -> None:
    await stage.settle(base(without_command("api"), API[1]), branch("v2", API[0]))
    assert stage.driver.applied == []
    assert stage.report(V2).status is EnvironmentStatus.FAILED


async def test_a_branch_the_driver_refuses_fails_alone(stage: Stage) -> None:
    good = branch("good", API[0])
    await stage.settle(base(), good)
    stayed = stage.pods()
    bad = branch("bad", without_command("api"), generation=5)
    fine = branch("fine", API[0], generation=6)
    await stage.settle(base(), good, bad, fine)
    await stage.until(EnvironmentStatus.READY, fine.environment.id)
    assert stage.report(bad.environment.id).status is EnvironmentStatus.FAILED
    assert "no command" in stage.report(bad.environment.id).detail
    assert stage.report().status is EnvironmentStatus.READY
    assert stage.report(good.environment.id).status is EnvironmentStatus.READY
    assert set(map(id, stayed)) <= set(map(id, stage.pods())), "nobody else was restarted"
    rows = stage.routes.published[-1][Place(SHOP, "api")].branches
    assert {row.name for row in rows} == {"good", "fine"}


async def test_a_refused_branch_that_was_mended_runs(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", without_command("api")))
    assert stage.report(V2).status is EnvironmentStatus.FAILED
    await stage.settle(base(), branch("v2", API[0], generation=2))
    await stage.until(EnvironmentStatus.READY, V2)


async def test_a_running_branch_that_becomes_bad_fails_alone(stage: Stage) -> None:
    await stage.settle(base(), branch("v2", API[0]))
    await stage.settle(base(), branch("v2", without_command("api"), generation=2))
    assert stage.report(V2).status is EnvironmentStatus.FAILED
    assert stage.report().status is EnvironmentStatus.READY
    assert stage.routes.published[-1][Place(SHOP, "api")].branches == ()


async def test_a_cluster_error_while_searching_the_culprit_is_tried_again(stage: Stage) -> None:
    stage.driver.troubles = [ConfigError("no such thing"), ClusterError("busy")]
    await stage.settle(base(), branch("v2", API[0]))
    await stage.until(EnvironmentStatus.READY, V2)


# Kinds


async def test_ready_means_that_the_migration_is_done_and_no_cron_job_is_waited_for(
    stage: Stage,
) -> None:
    job, cron = as_kind(deployment("migrate"), "Job"), as_kind(deployment("nightly"), "CronJob")
    stage.driver.says["migrate"] = WorkloadStatus("migrate", wanted=1, ready=0, kind="Job")
    stage.driver.says["nightly"] = WorkloadStatus("nightly", wanted=1, ready=0, kind="CronJob")
    await stage.settle(base(*API, job, cron))
    assert stage.report().status is EnvironmentStatus.STARTING
    done = WorkloadStatus("migrate", wanted=1, ready=1, kind="Job", succeeded=1)
    stage.driver.say(done)
    assert stage.report().status is EnvironmentStatus.READY
    stage.driver.say(WorkloadStatus("migrate", 1, 0, kind="Job", failed="7 pods have failed"))
    assert stage.report().status is EnvironmentStatus.FAILED
    assert stage.report().detail == "migrate: 7 pods have failed"


async def test_a_job_that_is_done_is_not_behind_with_routes(stage: Stage) -> None:
    class Unconnected(Routes):
        def routes_generation(self, namespace: str, place: Place) -> int:
            return 0

    stage.namespace._routes = Unconnected()
    job = as_kind(deployment("batch"), "Job")
    stage.driver.says["batch"] = WorkloadStatus("batch", wanted=1, ready=0, kind="Job")
    await stage.settle(base(job, service("batch", (80, 8080)), generation=4))
    assert stage.report().workloads[0].routes_generation == 0
    stage.driver.say(WorkloadStatus("batch", wanted=1, ready=1, kind="Job", succeeded=1))
    assert stage.report().workloads[0].routes_generation == 4


async def test_what_the_driver_says_is_asked_for_once_a_change(stage: Stage) -> None:
    branches = [branch(f"v{n}", API[0]) for n in range(5)]
    await stage.settle(base(), *branches)
    await stage.until(EnvironmentStatus.READY)
    stage.driver.make_ready(NAMESPACE, "api", ready=False)
    before = stage.driver.asked
    for item in (base(), *branches):
        stage.report(item.environment.id)
    assert stage.driver.asked == before + 1
    assert stage.report().status is EnvironmentStatus.STARTING


# Targets


async def test_there_is_no_plan_to_ask_before_the_first_pass(stage: Stage) -> None:
    with pytest.raises(NotReady, match="being started"):
        stage.namespace.plan  # noqa: B018
    stage.driver.troubles = [ClusterError("no memory")] * 1_000
    stage.want(base())
    await stage.until(EnvironmentStatus.FAILED)
    with pytest.raises(NotReady, match="no memory"):
        stage.namespace.plan  # noqa: B018
    stage.driver.troubles.clear()
    await stage.settle(base())
    assert stage.namespace.plan.base.name == "shop"
