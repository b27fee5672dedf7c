"""What single pods have that their workload's template does not say: a name, an ordinal."""

from __future__ import annotations

import dataclasses

from lapdev.cluster.controllers.calendar import check_schedule
from lapdev.cluster.controllers.step import Start
from lapdev.cluster.manifests import Container, EnvVar, WorkloadKind
from lapdev.cluster.wanted import WantedNamespace, WantedWorkload
from lapdev.errors import ConfigError

NAME_LENGTH = 63
"""Of a host name's label. Octets."""
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
JOB_NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
JOB_INDEX = "batch.kubernetes.io/job-completion-index"
JOB_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
OWN_LABELS = frozenset({POD_NAME_LABEL, POD_INDEX_LABEL, JOB_INDEX, *JOB_NAME_LABELS})
"""Labels that pods have and templates do not."""


def check_runnable(wanted: WantedNamespace) -> None:
    """Raises ConfigError when a pod's name were longer than a host's, or a run never came."""
    for workload in wanted.workloads.values():
        facts = workload.facts
        if facts.schedule is not None:
            check_schedule(facts.schedule, facts.where)
        longest = pod_name(workload, Start(max(0, facts.replicas - 1)), "")
        if has_fixed_name(workload) and len(longest) > NAME_LENGTH:
            raise ConfigError(
                f"{facts.where}: its pod would be called {longest},"
                f" which is longer than {NAME_LENGTH} characters",
                hint="give it a shorter name",
            )


def pod_name(wanted: WantedWorkload, start: Start, suffix: str) -> str:
    """The pod's name, fixed where its kind says so; else it ends in `suffix`."""
    match wanted.facts.kind:
        case WorkloadKind.POD:
            return wanted.name
        case WorkloadKind.STATEFUL_SET:
            return f"{wanted.name}-{start.ordinal}"
    ordinal = "" if start.ordinal is None else f"{start.ordinal}"
    tail = "-".join(filter(None, (start.run, ordinal, suffix)))
    return f"{wanted.name[: NAME_LENGTH - 1 - len(tail)].rstrip('-')}-{tail}"


def has_fixed_name(wanted: WantedWorkload) -> bool:
    """Only one pod at a time can have it."""
    return wanted.facts.kind in (WorkloadKind.POD, WorkloadKind.STATEFUL_SET)


def pod_workload(wanted: WantedWorkload, start: Start, name: str) -> WantedWorkload:
    """The workload with what belongs to this pod only; its digest stays the workload's."""
    pod = wanted.facts.pod
    labels, annotations = dict(pod.labels), dict(pod.annotations)
    match wanted.facts.kind:
        case WorkloadKind.STATEFUL_SET:
            labels |= {POD_NAME_LABEL: name, POD_INDEX_LABEL: str(start.ordinal)}
        case WorkloadKind.JOB | WorkloadKind.CRON_JOB:
            job = "-".join(filter(None, (wanted.name, start.run)))
            labels |= dict.fromkeys(JOB_NAME_LABELS, job)
        case _:
            return wanted
    if start.ordinal is not None and wanted.facts.kind is not WorkloadKind.STATEFUL_SET:
        labels[JOB_INDEX] = annotations[JOB_INDEX] = str(start.ordinal)
        pod = dataclasses.replace(
            pod,
            containers=tuple(_indexed(each, start.ordinal) for each in pod.containers),
            init_containers=tuple(_indexed(each, start.ordinal) for each in pod.init_containers),
        )
    pod = dataclasses.replace(pod, labels=labels, annotations=annotations)
    return dataclasses.replace(wanted, facts=dataclasses.replace(wanted.facts, pod=pod))


def pod_hostname(wanted: WantedWorkload, start: Start, name: str) -> str:
    """What the pod calls itself, and is called below its subdomain."""
    if wanted.facts.pod.hostname:
        return wanted.facts.pod.hostname
    indexed = start.ordinal is not None
    if indexed and wanted.facts.kind in (WorkloadKind.JOB, WorkloadKind.CRON_JOB):
        job = "-".join(filter(None, (wanted.name, start.run)))
        return f"{job}-{start.ordinal}"[-NAME_LENGTH:].lstrip("-")
    return name


def pod_subdomain(wanted: WantedWorkload) -> str:
    """The headless service below which the pod has a name; empty when there is none."""
    if wanted.facts.kind is WorkloadKind.STATEFUL_SET:
        return wanted.facts.governing_service
    return wanted.facts.pod.subdomain


def _indexed(container: Container, index: int) -> Container:
    if any(variable.name == JOB_INDEX_VARIABLE for variable in container.env):
        return container
    # First: the container's own variables may refer to it.
    return dataclasses.replace(
        container, env=(EnvVar(JOB_INDEX_VARIABLE, str(index)), *container.env)
    )
