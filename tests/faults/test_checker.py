"""Each criterion finds what it is there for, and nothing in a run that went well."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.faults.checker import Probe, Record, judge, percentile, slope
from tests.faults.history import Fault, History, Kind, Operation, Outcome

MIB = 2**20


def operation(outcome: Outcome, kind: Kind = Kind.GET, **more: Any) -> Operation:
    done = Operation(kind, more.pop("name", "a"), 100.0, 101.0, outcome, moved_at=100.5)
    for name, value in more.items():
        setattr(done, name, value)
    return done


def record(*operations: Operation, **more: Any) -> Record:
    return Record(History(list(operations)), **more)


def test_a_run_that_went_well_has_no_findings() -> None:
    good = record(
        operation(Outcome.OK, Kind.POST, name="p"),
        operation(Outcome.STOPPED, Kind.DOWNLOAD),
        operation(Outcome.REFUSED, status=503),
        journal=["executed p", "executed q"],
        probes=[Probe("cloud", 1.0, 0.01)] * 50,
        before={"cloud": Probe("cloud", 0.0, 0.0, 50 * MIB, 30, {"lapdev_streams": 3})},
        after={"cloud": Probe("cloud", 9.0, 0.0, 60 * MIB, 32, {"lapdev_streams": 1})},
        logs={"cloud": [{"event": "tunnel_lost", "time": "2026-01-01T00:00:00.1Z"}]},
        secrets=("s3cret",),
        raw_logs="nothing of it",
    )
    assert judge(good) == []


LOG_STORM = [{"event": "dialled", "time": "2026-01-01T00:00:00.5Z"}] * 40


def after(rss: int, fds: int, streams: int) -> dict[str, Any]:
    """A recovery to that, from 50 MiB, 30 descriptors and 3 streams."""
    end = Probe("cloud", 9.0, 0.0, rss, fds, {"lapdev_streams": streams})
    return {"before": {"cloud": BASE}, "after": {"cloud": end}}


BASE = Probe("cloud", 0.0, 0.0, 50 * MIB, 30, {"lapdev_streams": 3})


@pytest.mark.parametrize(
    ("criterion", "bad"),
    [
        ("G1", record(operation(Outcome.WRONG))),
        ("G1", record(journal=["wrong a"])),
        ("G2", record(operation(Outcome.TRUNCATED, Kind.DOWNLOAD))),
        ("G3", record(journal=["executed p", "executed p"])),
        ("G3", record(operation(Outcome.OK, Kind.POST, name="p"))),
        ("G4", record(operation(Outcome.REFUSED, ended=170.0))),
        ("G4", record(operation(Outcome.CUT, Kind.DOWNLOAD, ended=180.0))),
        ("G4", record(operation(Outcome.CUT), may_fail=lambda _: False)),
        ("G5", record(**after(66 * MIB, 30, 3))),
        ("G5", record(**after(50 * MIB, 33, 3))),
        ("G5", record(**after(50 * MIB, 30, 6))),
        ("G6", record(probes=[Probe("cloud", 1.0, 0.2)] * 3)),
        ("G7", record(logs={"cloud": LOG_STORM})),
        ("G7", record(logs={"cloud": [{"event": "task_failed", "traceback": "…"}]})),
        ("G7", record(secrets=("s3cret",), raw_logs="token s3cret")),
        ("G9", record(operation(Outcome.REFUSED, tenant="healthy"))),
    ],
)  # fmt: skip
def test_each_criterion_finds_its_own(criterion: str, bad: Record) -> None:
    found = judge(bad)
    assert found
    assert {finding.split(" ")[0] for finding in found} == {criterion}


def test_an_operation_that_never_ended_is_found() -> None:
    history = History()
    history.begin(Kind.GET, "a")
    assert judge(Record(history)) != []


def test_what_the_kernel_ended_cleanly_is_no_answer_of_ours() -> None:
    cut = operation(Outcome.TRUNCATED, Kind.TCP)
    assert judge(record(cut)) != []
    assert judge(record(cut, kernel_says_goodbye=True)) == []


def test_probes_of_a_stopped_process_do_not_count() -> None:
    probes = [Probe("cloud", 10.0, 5.0)]
    assert judge(record(probes=probes, stopped=[(9.0, 14.9)])) == []
    assert judge(record(probes=probes, stopped=[(1.0, 9.9)])) != []


def test_a_healthy_tenant_that_becomes_slow_is_found() -> None:
    calm = [operation(Outcome.OK, tenant="healthy", ended=100.01) for _ in range(20)]
    slow = [operation(Outcome.OK, tenant="healthy", begun=200.0, ended=200.4) for _ in range(20)]
    found = record(*calm, *slow)
    found.history.faults.append(Fault("F6", 199.0, 201.0))
    assert [finding[:2] for finding in judge(found)] == ["G9"]
    found.stopped = [(200.1, 200.3)]
    assert judge(found) == []


def test_an_operation_that_is_open_is_no_longer_once_it_ended() -> None:
    history = History()
    begun = history.begin(Kind.DOWNLOAD, "a")
    assert history.streams() == [begun]
    history.end(begun, Outcome.OK)
    assert history.streams() == []
    assert history.operations == [begun]
    assert begun.ended <= time.monotonic()


def test_percentile_and_slope() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([], 0.5) == 0.0
    assert slope([(0.0, 1.0), (2.0, 5.0), (4.0, 9.0)]) == pytest.approx(2.0)
