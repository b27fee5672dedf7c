"""What single pods have of their own: names, labels, an index."""

from __future__ import annotations

import dataclasses

import pytest

from lapdev.cluster.controllers import (
    Start,
    check_runnable,
    pod_hostname,
    pod_name,
    pod_subdomain,
    pod_workload,
)
from lapdev.cluster.manifests import Container, EnvVar, WorkloadKind
from lapdev.cluster.wanted import WantedNamespace, WantedWorkload
from lapdev.errors import ConfigError
from tests.cluster.controllers.scenes import cron, deployment, job, stateful, wanted


def renamed(workload: WantedWorkload, name: str) -> WantedWorkload:
    return dataclasses.replace(workload, name=name)


def namespace(*workloads: WantedWorkload) -> WantedNamespace:
    return WantedNamespace("shop", {each.name: each for each in workloads}, {}, {})


@pytest.mark.parametrize(
    ("workload", "start", "name"),
    [
        (deployment(), Start(), "w-abcde"),
        (wanted(WorkloadKind.DAEMON_SET), Start(), "w-abcde"),
        (wanted(WorkloadKind.POD), Start(), "w"),
        (stateful(), Start(2), "w-2"),
        (job(), Start(), "w-abcde"),
        (job(indexed=True), Start(3), "w-3-abcde"),
        (cron(), Start(run="29541240"), "w-29541240-abcde"),
        (renamed(deployment(), "x" * 63), Start(), "x" * 57 + "-abcde"),
        (renamed(cron(), "x" * 63), Start(run="29541240"), "x" * 48 + "-29541240-abcde"),
        (renamed(deployment(), "x" * 56 + "-yyyyyy"), Start(), "x" * 56 + "-abcde"),
    ],
)
def test_names_of_pods(workload: WantedWorkload, start: Start, name: str) -> None:
    assert pod_name(workload, start, "abcde") == name
    assert len(name) <= 63


def test_a_pod_of_a_stateful_set_can_be_selected_by_its_own_labels() -> None:
    pod = pod_workload(stateful("d"), Start(1), "w-1").facts.pod
    assert pod.labels == {
        "statefulset.kubernetes.io/pod-name": "w-1",
        "apps.kubernetes.io/pod-index": "1",
    }


def test_an_index_is_told_first_so_that_others_may_refer_to_it() -> None:
    indexed = job(indexed=True)
    container = Container("web", "here", env=(EnvVar("FILE", "part-$(JOB_COMPLETION_INDEX)"),))
    pod = dataclasses.replace(indexed.facts.pod, containers=(container,))
    facts = dataclasses.replace(indexed.facts, pod=pod)
    made = pod_workload(dataclasses.replace(indexed, facts=facts), Start(4), "w-4-abcde")
    assert made.facts.pod.containers[0].env[0] == EnvVar("JOB_COMPLETION_INDEX", "4")
    assert made.facts.pod.annotations == {"batch.kubernetes.io/job-completion-index": "4"}
    assert made.facts.pod.labels["batch.kubernetes.io/job-name"] == "w"
    assert made.digest == indexed.digest


def test_a_variable_of_that_name_stays_as_it_is_written() -> None:
    container = Container("web", "here", env=(EnvVar("JOB_COMPLETION_INDEX", "mine"),))
    indexed = job(indexed=True)
    pod = dataclasses.replace(indexed.facts.pod, containers=(container,))
    made = pod_workload(
        dataclasses.replace(indexed, facts=dataclasses.replace(indexed.facts, pod=pod)),
        Start(0),
        "w",
    )
    assert made.facts.pod.containers == (container,)


def test_a_deployments_pods_are_as_their_template() -> None:
    assert pod_workload(deployment(), Start(), "w-abcde") == deployment()


def test_host_names_and_the_service_they_are_below() -> None:
    assert pod_hostname(stateful(), Start(0), "w-0") == "w-0"
    assert pod_hostname(job(indexed=True), Start(3), "w-3-abcde") == "w-3"
    assert pod_hostname(deployment(), Start(), "w-abcde") == "w-abcde"
    governed = stateful()
    governed = dataclasses.replace(
        governed, facts=dataclasses.replace(governed.facts, governing_service="w")
    )
    assert pod_subdomain(governed) == "w"
    named = deployment()
    pod = dataclasses.replace(named.facts.pod, hostname="one", subdomain="peers")
    named = dataclasses.replace(named, facts=dataclasses.replace(named.facts, pod=pod))
    assert (pod_hostname(named, Start(), "w-abcde"), pod_subdomain(named)) == ("one", "peers")


def test_a_stateful_set_whose_pods_could_have_no_host_name_is_refused() -> None:
    check_runnable(namespace(renamed(stateful(replicas=10), "x" * 61)))
    with pytest.raises(ConfigError, match=r"StatefulSet/w: its pod would be called x+-10") as why:
        check_runnable(namespace(renamed(stateful(replicas=11), "x" * 61)))
    assert "shorter" in why.value.hint


def test_a_schedule_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigError, match="CronJob/w"):
        check_runnable(namespace(cron("0 0 30 2 *")))
