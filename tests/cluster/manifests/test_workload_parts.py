"""Workloads of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import (
    Claim,
    JobPolicy,
    RestartPolicy,
    Schedule,
    Strategy,
    Volume,
    Workload,
    WorkloadKind,
    parse_workload,
)
from lapdev.errors import ConfigError
from tests.cluster.manifests.everything import objects

WHOLE = {item["kind"]: item for item in objects()}


def workload(kind: str, *, restart: str = "", **spec: Any) -> Workload:
    pod: dict[str, Any] = {"containers": [{"name": "c"}]}
    if restart:
        pod["restartPolicy"] = restart
    metadata = {"name": "x"}
    return parse_workload(
        {"kind": kind, "metadata": metadata, "spec": {"template": {"spec": pod}, **spec}}
    )


def job(**spec: Any) -> JobPolicy:
    policy = workload("Job", restart="Never", **spec).job
    assert policy is not None
    return policy


def cron(**spec: Any) -> Schedule:
    template = {"spec": {"containers": [{"name": "c"}], "restartPolicy": "OnFailure"}}
    found = workload("CronJob", jobTemplate={"spec": {"template": template}}, **spec)
    assert found.schedule is not None and found.job == JobPolicy()
    return found.schedule


@pytest.mark.parametrize("kind", list(WorkloadKind))
def test_every_kind_is_read_whole(kind: WorkloadKind) -> None:
    found = parse_workload(WHOLE[kind])
    assert found.kind is kind
    assert [c.name for c in found.pod.all_containers()] == ["migrate", "proxy", "web", "side"]
    assert [c.name for c in found.pod.serving()] == ["proxy", "web", "side"]
    assert found.where == f"{kind}/{found.name}"


@pytest.mark.parametrize(
    ("kind", "replicas"), [("Deployment", 3), ("StatefulSet", 3), ("DaemonSet", 1)]
)
def test_replicas_are_of_those_that_have_them(kind: str, replicas: int) -> None:
    assert workload(kind, replicas=3).replicas == replicas
    assert workload(kind).replicas == 1


def test_a_stateful_set_has_order_a_service_and_claims() -> None:
    found = workload(
        "StatefulSet", serviceName="pods", volumeClaimTemplates=[{"metadata": {"name": "data"}}]
    )
    assert (found.ordered, found.governing_service) == (True, "pods")
    assert found.pod.volumes == (Volume("data", Claim("data", per_pod=True)),)
    assert not workload("StatefulSet", podManagementPolicy="Parallel").ordered


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        (None, Strategy.ROLLING),
        ({}, Strategy.ROLLING),
        ({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, Strategy.ROLLING),
        ({"type": "Recreate"}, Strategy.RECREATE),
    ],
)
def test_a_deployment_has_a_strategy(strategy: Any, wanted: Strategy) -> None:
    assert workload("Deployment", strategy=strategy).strategy is wanted


def in_place(kind: str, value: str) -> Strategy:
    item = dict(WHOLE[kind])
    item["metadata"] = {"name": "x", "annotations": {"lapdev.dev/update": value}}
    return parse_workload(item).strategy


def test_a_deployment_may_be_updated_in_place() -> None:
    assert in_place("Deployment", "in-place") is Strategy.IN_PLACE
    assert in_place("StatefulSet", "in-place") is Strategy.ROLLING
    with pytest.raises(ConfigError, match=r"annotations\.lapdev\.dev/update: is 'inplace'"):
        in_place("Deployment", "inplace")


def test_a_job_has_a_policy() -> None:
    assert job() == JobPolicy()
    assert job(completions=3, parallelism=2, backoffLimit=0, suspend=True) == JobPolicy(
        3, 2, 0, suspended=True
    )
    assert job(
        completions=2, completionMode="Indexed", activeDeadlineSeconds=9, ttlSecondsAfterFinished=0
    ) == JobPolicy(2, active_deadline=9.0, ttl=0.0, indexed=True)


def test_every_pod_of_a_job_without_a_number_has_to_succeed() -> None:
    assert job(parallelism=3).completions == 3
    assert job(parallelism=0).completions == 1


def test_a_cron_job_has_a_schedule() -> None:
    assert cron(schedule="@daily") == Schedule("0 0 * * *")
    assert cron(
        schedule="* * * * *",
        timeZone="Europe/Paris",
        concurrencyPolicy="Replace",
        suspend=True,
        startingDeadlineSeconds=5,
        successfulJobsHistoryLimit=0,
        failedJobsHistoryLimit=2,
    ) == Schedule("* * * * *", "Europe/Paris", "Replace", True, 5.0, 0, 2)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_what_stays_restarts_always(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"restartPolicy: is Never"):
        workload(kind, restart="Never")


@pytest.mark.parametrize("policy", list(RestartPolicy))
def test_a_bare_pod_restarts_as_it_says(policy: RestartPolicy) -> None:
    spec = {"containers": [{"name": "c"}], "restartPolicy": policy}
    item = {"kind": "Pod", "metadata": {"name": "x", "labels": {"app": "x"}}, "spec": spec}
    found = parse_workload(item)
    assert (found.pod.restart, found.pod.labels) == (policy, {"app": "x"})
    assert (found.replicas, found.pod.containers[0].where) == (1, 'Pod/x: spec.containers[0] "c"')


@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (lambda: workload("Job"), r"restartPolicy: is not written, which means Always"),
        (lambda: workload("Service"), "Service/x: runs no pods"),
        (lambda: parse_workload({"kind": ["Job"]}), "runs no pods"),
        (lambda: parse_workload({"kind": "Job", "metadata": {"generateName": "x-"}}), "generateN"),
        (lambda: job(completionMode="Indexed"), "completions: is nothing"),
        (lambda: job(parallelism=101), "parallelism: is 101"),
        (lambda: job(backoffLimit=-1), "backoffLimit: is -1"),
        (cron, r"spec\.schedule: is nothing"),
        (lambda: cron(schedule="daily"), "'daily' is not a schedule"),
        (lambda: cron(schedule="@daily", timeZone="Mars/Base"), "'Mars/Base' is not a time zone"),
        (lambda: cron(schedule="@daily", timeZone="../etc"), "'../etc' is not a time zone"),
        (lambda: cron(schedule="@daily", timeZone="Europe"), "'Europe' is not a time zone"),
        (lambda: cron(schedule="@daily", concurrencyPolicy="Skip"), "is 'Skip'"),
        (lambda: workload("StatefulSet", podManagementPolicy="x"), "podManagementPolicy: is 'x'"),
        (lambda: workload("StatefulSet", serviceName="A"), "'A' is not a name"),
        (lambda: workload("Deployment", strategy={"type": "Canary"}), "is 'Canary'"),
        (lambda: workload("Deployment", replicas="2"), "is str, not a whole number"),
    ],
)
def test_what_cannot_be_is_refused(read: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read()
    assert caught.value.hint
