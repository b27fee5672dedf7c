"""One run: the world stands, the load runs, a fault happens, and what was recorded is judged."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from tests.faults import network
from tests.faults.checker import Probe, Record, failed, judge, percentile
from tests.faults.exposed_world import exposed_world
from tests.faults.history import SHORT as SHORT_KINDS
from tests.faults.history import Fault, History, Operation, Outcome
from tests.faults.load import HEALTHY, LOAD_L, Volume, load
from tests.faults.processes import Role
from tests.faults.relay import Relay, relay
from tests.faults.world import LINK_PORT, RELAY_PORT, World, world
from tests.support.packet_path import Conditions, PacketPath, packet_path

HOST = "127.0.0.1"
PROBE_INTERVAL = 0.1
REST_LOOKS = 40
LOST, OPENED = "tunnel_lost", "tunnel_opened"


@dataclass(slots=True)
class Stage:
    """What a fault sees, and where it says what it found."""

    world: World
    seed: int
    history: History = field(default_factory=History)
    numbers: dict[str, float] = field(default_factory=dict)
    """What decides, by name."""
    findings: list[str] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    relay: Relay | None = None
    path: PacketPath | None = None
    random: random.Random = field(default_factory=random.Random)
    renewed: set[str] = field(default_factory=set)
    """Roles that were started anew meanwhile."""
    scale: float = 1.0
    """A smoke run's faults last so much shorter."""

    @contextmanager
    def fault(self, name: str) -> Iterator[Fault]:
        """The fault lasts as long as the block."""
        fault = self.history.begin_fault(name)
        fault.ended = float("inf")
        try:
            yield fault
        finally:
            fault.ended = time.monotonic()

    def measure(self, name: str, value: float, at_most: float = float("inf")) -> None:
        """A number of the result; beyond its limit it is a finding. The worst of a name stays."""
        self.numbers[name] = max(value, self.numbers.get(name, value))
        if value > at_most:
            self.findings.append(f"{name}: {value:.2f}, {at_most:g} allowed")

    def check(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.findings.append(otherwise)

    async def sleep(self, seconds: float) -> None:
        """Of the fault's own time: a smoke run shortens it."""
        await asyncio.sleep(seconds * self.scale)

    async def wait_moving(self, timeout: float = 65.0) -> float:
        """Seconds until every stream that runs now has moved a byte, or has ended."""
        begun = time.monotonic()
        watched = self.history.streams()
        while any(each.moved_at < begun and not each.ended for each in watched):
            if time.monotonic() > begun + timeout:
                still = [f"{each.kind} {each.name}" for each in watched if each.moved_at < begun]
                self.findings.append(f"stood still for {timeout:g} s: {', '.join(still)}")
                break
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    def link_connections(self) -> list[network.Connection]:
        return network.connections(HOST, RELAY_PORT if self.relay else LINK_PORT)

    async def wait_link(self, up: bool, timeout: float) -> float:
        """Seconds until the dialling end says that it holds, or does not hold, a tunnel."""

        async def as_wanted() -> bool:
            return bool(await self.world.link_up() == up)

        return await self.world.wait(as_wanted, f"the link is {'up' if up else 'down'}", timeout)

    async def wait_links(self, count: int, timeout: float = 30.0) -> None:
        """So many connections make up the link that is hit."""

        async def there() -> bool:
            return len(self.link_connections()) >= count

        await self.world.wait(there, f"{count} connections", timeout)

    async def check_counters(self) -> None:
        """G8: both ends count what their logs tell, and say that they are connected."""
        ends = [(self.world.cloud, "manager" if self.world.main.manager else "devbox")]
        if self.world.main.manager:
            ends.append((self.world.manager, "cloud"))
        lost_name, resumed_name = "lapdev_tunnel_losses_total", "lapdev_tunnel_resumes_total"

        async def all_back() -> bool:
            values = [await role.metrics() for role, _ in ends]
            labels = [f'{{peer="{peer}"}}' for _, peer in ends]
            pairs = zip(values, labels, strict=True)
            return all(seen[resumed_name + of] >= seen[lost_name + of] for seen, of in pairs)

        await self.world.wait(all_back, "every link is back", 15)
        for role, peer in ends:
            seen = await role.metrics()
            up, lost, resumed = (
                seen[f'lapdev_{name}{{peer="{peer}"}}']
                for name in ("tunnels_up", "tunnel_losses_total", "tunnel_resumes_total")
            )
            self.measure(f"{role.name} counts losses", lost)
            logged = [line for line in role.log() if line["event"] == LOST]
            ours = [x for x in logged if str(x.get("identity", "")).startswith(f"{peer}:")]
            self.check(up >= 1, f"{role.name}: no tunnel is up, it says")
            self.check(lost >= len(ours), f"{role.name}: {len(ours)} lost, {lost:g} counted")
            self.check(resumed >= lost, f"{role.name}: {lost:g} lost, {resumed:g} resumed")

    def tunnel_lines(self, event: str, **values: object) -> list[dict[str, object]]:
        """The cloud's log lines of the first tenant's tunnels."""
        own = self.world.cluster_ids.get("main")
        return [
            line
            for line in self.world.cloud.log()
            if line["event"] == event
            and own in (None, str(line.get("identity", "")).rpartition(":")[2])
            and all(line.get(name) == value for name, value in values.items())
        ]


Body = Callable[[Stage], Awaitable[None]]


def never_fails(_stage: Stage, _operation: Operation) -> bool:
    return False


def only_new_ones_are_refused(stage: Stage, operation: Operation) -> bool:
    """What was begun while the link was away may be refused; nothing else may fail."""
    away = any(
        each.overlaps(operation.begun, operation.begun, 3.0) for each in stage.history.faults
    )
    refused = operation.outcome == Outcome.REFUSED and operation.status in (502, 503, 504)
    early = operation.outcome == Outcome.CUT and not operation.moved
    return away and (refused or early)


def fails_during_the_fault(stage: Stage, operation: Operation) -> bool:
    """What meets the fault may fail, in a way that the client can tell."""
    return any(
        each.overlaps(operation.begun, operation.ended, 10.0) for each in stage.history.faults
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the plan."""

    name: str
    title: str
    body: Body
    may_fail: Callable[[Stage, Operation], bool] = only_new_ones_are_refused
    volume: Volume = LOAD_L
    tenants: tuple[str, ...] = ("main", "healthy")
    clusters: tuple[str, ...] = ()
    relayed: bool = False
    path: Conditions | None = None
    """Of the packets between manager and cloud."""
    cloud_memory: int = 0
    """Bytes the cloud may use; 0: as many as there are."""
    exposed: bool = False
    """There is no cluster: the first tenant is a laptop."""
    links: int = 0
    warm_up: float = 8.0
    recovery: float = 10.0
    """Seconds of load after the fault."""
    rss_more: int = 10 * 2**20
    timed: bool = True
    kernel_says_goodbye: bool = False


@dataclass(slots=True)
class Result:
    """Of one run."""

    scenario: str
    seed: int
    findings: list[str]
    numbers: dict[str, float]
    seconds: float
    outcomes: dict[str, int]

    @property
    def passed(self) -> bool:
        return not self.findings


async def perform(scenario: Scenario, seed: int, scale: float = 1.0) -> Result:
    """The scenario, once. Everything it started is gone afterwards."""
    begun = time.monotonic()
    network.bring_up()
    async with AsyncExitStack() as stack:
        between: Relay | None = None
        if scenario.relayed:
            to = (HOST, LINK_PORT)
            between = await stack.enter_async_context(relay(to, seed, port=RELAY_PORT))
        path = None
        if scenario.path is not None:
            path = stack.enter_context(packet_path(scenario.path, seed=seed))
            # From here on this process, and what it starts, is at the far end.
            stack.enter_context(path.far.entered())
        made = await stack.enter_async_context(
            exposed_world()
            if scenario.exposed
            else world(
                tenants=scenario.tenants,
                clusters=scenario.clusters,
                relayed=scenario.relayed,
                links=scenario.links,
                path=path,
                cloud_memory=scenario.cloud_memory,
            )
        )
        stage = Stage(made, seed, path=path, relay=between, random=random.Random(seed), scale=scale)
        record = await _play(stage, scenario)
    # Only now are the logs complete.
    record.logs = {role.name: role.log() for role in made.roles}
    return Result(
        scenario.name,
        seed,
        stage.findings + judge(record),
        stage.numbers,
        time.monotonic() - begun,
        dict(Counter(f"{each.kind} {each.outcome}" for each in stage.history.operations)),
    )


async def _play(stage: Stage, scenario: Scenario) -> Record:
    made = stage.world
    warm = Stage(made, stage.seed + 1)
    async with _under_load(warm, scenario.volume):
        await asyncio.sleep(scenario.warm_up * stage.scale)
    before = await _at_rest(stage)
    try:
        async with _under_load(stage, scenario.volume):
            await asyncio.sleep(3 * stage.scale)
            await scenario.body(stage)
            await asyncio.sleep(scenario.recovery * stage.scale)
    except* TimeoutError as group:
        stage.findings += [f"not in time: {error}" for error in leaves(group)]
    after = await _at_rest(stage, before)
    _measure_latencies(stage)
    return Record(
        history=stage.history,
        journal=[line for tenant in made.tenants.values() for line in tenant.executed()],
        probes=stage.probes,
        before=before,
        # A process that was started anew has nothing to return to.
        after={name: probe for name, probe in after.items() if name not in stage.renewed},
        secrets=made.secrets(),
        raw_logs="".join(role.log_file.read_text(errors="replace") for role in made.roles),
        stopped=[span for role in made.roles for span in role.away],
        may_fail=lambda operation: scenario.may_fail(stage, operation),
        rss_more=scenario.rss_more,
        timed=scenario.timed,
        kernel_says_goodbye=scenario.kernel_says_goodbye,
    )


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


@asynccontextmanager
async def _under_load(stage: Stage, volume: Volume) -> AsyncIterator[None]:
    """Every tenant's visitors are busy, and every process is probed."""
    async with AsyncExitStack() as stack:
        for name, tenant in stage.world.tenants.items():
            assert tenant.doors is not None
            given = volume if name == "main" else HEALTHY
            running = load(tenant.doors, stage.history, given, stage.seed, name)
            await stack.enter_async_context(running)
        async with asyncio.TaskGroup() as group:
            probing = [group.create_task(_probe(stage, role)) for role in stage.world.roles]
            try:
                yield
            finally:
                for task in probing:
                    task.cancel()


async def _probe(stage: Stage, role: Role) -> None:
    while True:
        if role.answers:
            # Whether it may be away is for the checker to know.
            with suppress(httpx.HTTPError):
                stage.probes.append(await role.probe())
        await asyncio.sleep(PROBE_INTERVAL)


async def _at_rest(stage: Stage, wanted: dict[str, Probe] | None = None) -> dict[str, Probe]:
    """What each process holds once nobody asks anything of it any more."""
    seen: dict[str, Probe] = {}
    for _ in range(REST_LOOKS):
        last, seen = seen, await stage.world.look()
        if wanted is None:
            settled = {k: v.counts for k, v in last.items()} == {
                k: v.counts for k, v in seen.items()
            }
        else:
            settled = all(
                wanted[name].counts == each.counts for name, each in seen.items() if name in wanted
            )
        if settled:
            break
        await asyncio.sleep(0.5)
    return seen


def _measure_latencies(stage: Stage) -> None:
    """Of the first tenant's short requests, and how many of them were answered."""
    short = [each for each in stage.history.operations if each.kind in SHORT_KINDS]
    own = [each for each in short if each.tenant == "main"]
    good = [each.seconds for each in own if each.outcome == Outcome.OK]
    if own:
        stage.measure("answered %", round(100 * len(good) / len(own), 2))
        stage.measure("p99 ms", round(percentile(good, 0.99) * 1000))
    streams = [each for each in stage.history.operations if each.kind not in SHORT_KINDS]
    stage.measure("streams failed", sum(failed(each) for each in streams))
    stage.measure("streams", len(streams))
    stage.measure("requests", len(own))
