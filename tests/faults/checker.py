"""The criteria that every fault shares, G1 to G9, each a function over what was recorded."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.faults.history import SHORT, STREAMS, History, Kind, Operation, Outcome

HANG_SECONDS = 65.0
"""G4: nothing waits for longer."""
LAG_SECONDS = 0.1
"""G6: the 99th percentile of what a process needs to answer a probe."""
LINES_PER_SECOND = 10.0
"""G7: of log lines, those of exchanges left out."""
FEW = 2
"""G5: counts that are back to their baseline may differ by so many."""
RSS_FACTOR, RSS_MORE = 1.1, 10 * 2**20
"""G5: resident memory after recovery, at most."""
HEALTHY_FACTOR, HEALTHY_MORE = 1.5, 0.05
"""G9: p99 of the healthy tenant; a machine that does other things may add so many seconds."""


@dataclass(slots=True)
class Probe:
    """One process at one moment."""

    role: str
    at: float
    lag: float
    """Seconds until /livez answered."""
    rss: int = 0
    fds: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    """Gauges of what is open, by name."""


@dataclass(slots=True)
class Record:
    """Everything a run has left."""

    history: History
    journal: list[str] = field(default_factory=list)
    """Lines of the application: `executed NAME`, `wrong NAME`."""
    probes: list[Probe] = field(default_factory=list)
    before: dict[str, Probe] = field(default_factory=dict)
    """Role → the baseline."""
    after: dict[str, Probe] = field(default_factory=dict)
    logs: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    """Role → its lines, read as JSON."""
    secrets: tuple[str, ...] = ()
    raw_logs: str = ""
    stopped: list[tuple[float, float]] = field(default_factory=list)
    """When processes could not answer: SIGSTOP, or dead."""
    may_fail: Callable[[Operation], bool] = lambda _operation: True
    """Which operations may end in an explicit error, as the fault says."""
    rss_more: int = RSS_MORE
    kernel_says_goodbye: bool = False
    """Whoever holds visitors' sockets is killed: the kernel ends them, and cleanly so."""
    timed: bool = True
    """The machine does nothing else: how fast something was means something."""


Findings = list[str]


def g1_no_wrong_byte(record: Record) -> Findings:
    wrong = [line for line in record.journal if line.startswith("wrong")]
    wrong += [told(each) for each in record.history.operations if each.outcome == Outcome.WRONG]
    return [f"G1 wrong or foreign bytes: {each}" for each in wrong]


def g2_no_truncated_answer_is_complete(record: Record) -> Findings:
    cut = [each for each in record.history.operations if each.outcome == Outcome.TRUNCATED]
    if record.kernel_says_goodbye:
        cut = [each for each in cut if each.kind != Kind.TCP]
    return [f"G2 truncated, told as complete: {told(each)}" for each in cut]


def g3_posts_are_executed_once(record: Record) -> Findings:
    executed = Counter(line.partition(" ")[2] for line in record.journal if line.startswith("exec"))
    found = [f"G3 executed {n} times: {name}" for name, n in executed.items() if n > 1]
    posts = (each for each in record.history.operations if each.kind == Kind.POST)
    acknowledged = [each for each in posts if each.outcome == Outcome.OK]
    return found + [
        f"G3 acknowledged, not executed: {told(each)}"
        for each in acknowledged
        if each.name not in executed
    ]


def g4_nothing_hangs(record: Record) -> Findings:
    history = record.history
    slow = [
        each for each in history.operations if each.kind in SHORT and each.seconds > HANG_SECONDS
    ]
    # A transfer may last; it may not stand still.
    slow += [
        each
        for each in history.operations
        if each.kind in STREAMS and each.ended - each.moved_at > HANG_SECONDS
    ]
    found = [f"G4 hung: {told(each)}" for each in slow]
    found += [f"G4 never ended: {told(each)}" for each in history.running.values()]
    wrongly = [each for each in history.operations if failed(each) and not record.may_fail(each)]
    return found + [f"G4 failed: {told(each)}" for each in wrongly]


def g5_back_to_baseline(record: Record) -> Findings:
    found = []
    for role, after in record.after.items():
        before = record.before[role]
        allowed = before.rss * RSS_FACTOR + record.rss_more
        if after.rss > allowed:
            found.append(f"G5 {role}: RSS {after.rss >> 20} MiB after {before.rss >> 20} MiB")
        if after.fds > before.fds + FEW:
            found.append(f"G5 {role}: {after.fds} descriptors after {before.fds}")
        for name, value in after.counts.items():
            if abs(value - before.counts.get(name, 0.0)) > FEW:
                found.append(f"G5 {role}: {name} {value:g} after {before.counts.get(name, 0.0):g}")
    return found


def g6_loops_turn(record: Record) -> Findings:
    found: Findings = []
    if not record.timed:
        return found
    for role in sorted({probe.role for probe in record.probes}):
        lags = [
            probe.lag for probe in record.probes if probe.role == role and not absent(record, probe)
        ]
        if (lag := percentile(lags, 0.99)) > LAG_SECONDS:
            found.append(f"G6 {role}: answered probes within {lag * 1000:.0f} ms (p99)")
    return found


def g7_logs_are_calm_and_hold_no_secret(record: Record) -> Findings:
    found = []
    for role, lines in record.logs.items():
        seconds = Counter(str(line.get("time", ""))[:19] for line in lines if not of_exchange(line))
        worst = max(seconds.values(), default=0)
        if worst > LINES_PER_SECOND * (1 + len({str(line.get("tunnel_id")) for line in lines})):
            found.append(f"G7 {role}: {worst} log lines in a second")
        found += [
            f"G7 {role}: {line['event']}: {line.get('error')}"
            for line in lines
            if "traceback" in line
        ]
    found += [
        "G7 a secret is in a log"
        for secret in record.secrets
        if secret and secret in record.raw_logs
    ]
    return found


def g9_healthy_tenants_feel_nothing(record: Record) -> Findings:
    healthy = [each for each in record.history.operations if each.tenant != "main"]
    found = [f"G9 the healthy tenant: {told(each)}" for each in healthy if failed(each)]
    short = [
        each
        for each in healthy
        if each.kind in SHORT
        and each.outcome == Outcome.OK
        # A cloud that we froze is everybody's.
        and not any(begun <= each.ended and each.begun <= end for begun, end in record.stopped)
    ]
    faults = record.history.faults
    hit = [
        each.seconds for each in short if any(f.overlaps(each.begun, each.ended) for f in faults)
    ]
    calm = [
        each.seconds
        for each in short
        if not any(f.overlaps(each.begun, each.ended) for f in faults)
    ]
    if hit and calm and record.timed:
        allowed = percentile(calm, 0.99) * HEALTHY_FACTOR + HEALTHY_MORE
        if (p99 := percentile(hit, 0.99)) > allowed:
            found.append(
                f"G9 the healthy tenant's p99: {p99 * 1000:.0f} ms, {allowed * 1000:.0f} ms allowed"
            )
    return found


CRITERIA: tuple[Callable[[Record], Findings], ...] = (
    g1_no_wrong_byte,
    g2_no_truncated_answer_is_complete,
    g3_posts_are_executed_once,
    g4_nothing_hangs,
    g5_back_to_baseline,
    g6_loops_turn,
    g7_logs_are_calm_and_hold_no_secret,
    g9_healthy_tenants_feel_nothing,
)
"""G8, that metrics show the fault, is asked by each fault of the metrics it should move."""


def judge(record: Record) -> Findings:
    """What does not hold. Empty: the run is passed."""
    return [finding for criterion in CRITERIA for finding in criterion(record)]


def failed(operation: Operation) -> bool:
    return operation.outcome not in (Outcome.OK, Outcome.STOPPED)


def told(operation: Operation) -> str:
    return (
        f"{operation.kind} {operation.name}: {operation.outcome} {operation.status or ''}"
        f" {operation.detail} at byte {operation.moved}, begun at {operation.begun:.2f},"
        f" {operation.seconds:.2f} s"
    )


def of_exchange(line: dict[str, object]) -> bool:
    return line.get("event") == "exchange_finished"


def absent(record: Record, probe: Probe) -> bool:
    return any(
        begun <= probe.at + probe.lag and probe.at <= ended for begun, ended in record.stopped
    )


def percentile(values: Iterable[float], share: float) -> float:
    """0.0 of no values."""
    ordered: Sequence[float] = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Units a second: the line through the points that fits best."""
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope
