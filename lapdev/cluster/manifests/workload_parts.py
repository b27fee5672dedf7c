"""Workloads of every kind, read from their objects."""

from __future__ import annotations

import zoneinfo
from typing import Any

from lapdev.cluster.manifests.container import RestartPolicy
from lapdev.cluster.manifests.cron import parse_schedule
from lapdev.cluster.manifests.node import Node, object_node
from lapdev.cluster.manifests.pod_parts import parse_pod
from lapdev.cluster.manifests.template import WORKLOAD_KINDS, template_path
from lapdev.cluster.manifests.workload import (
    JobPolicy,
    Schedule,
    Strategy,
    Workload,
    WorkloadKind,
)

UPDATE_ANNOTATION = "lapdev.dev/update"
REPLICAS_LIMIT = 100

_STAYS = (RestartPolicy.ALWAYS,)
_ENDS = (RestartPolicy.ON_FAILURE, RestartPolicy.NEVER)
_RESTARTS = {
    WorkloadKind.JOB: _ENDS,
    WorkloadKind.CRON_JOB: _ENDS,
    WorkloadKind.POD: tuple(RestartPolicy),
}


def parse_workload(item: dict[str, Any]) -> Workload:
    """The workload that a Kubernetes object describes. Raises ConfigError as `parse_objects`."""
    written = item.get("kind")
    if not isinstance(written, str) or written not in WORKLOAD_KINDS:
        object_node(item, f"{written!s:.60}").fail(
            "runs no pods", f"write one of: {', '.join(WorkloadKind)}"
        )
    kind = WorkloadKind(written)
    root = object_node(item, kind)
    name = root.child("metadata").child("name")
    if not name.present and root.child("metadata").child("generateName").present:
        name.fail("is nothing: generateName is not supported", "write metadata.name")
    spec = root.child("spec")
    template = root
    for member in template_path(kind):
        template = template.child(member)
    claims = spec.child("volumeClaimTemplates") if kind is WorkloadKind.STATEFUL_SET else None
    return Workload(
        name=name.dns_label(),
        pod=parse_pod(template, _RESTARTS.get(kind, _STAYS), claims),
        kind=kind,
        replicas=_replicas(spec, kind),
        strategy=_strategy(root, kind),
        ordered=_ordered(spec, kind),
        governing_service=_governing_service(spec, kind),
        job=_job(spec, kind),
        schedule=_schedule(spec) if kind is WorkloadKind.CRON_JOB else None,
    )


def _replicas(spec: Node, kind: WorkloadKind) -> int:
    match kind:
        case WorkloadKind.DEPLOYMENT | WorkloadKind.STATEFUL_SET:
            return spec.child("replicas").integer(0, REPLICAS_LIMIT, default=1)
        case WorkloadKind.JOB | WorkloadKind.CRON_JOB:
            return 0
    return 1


def _strategy(root: Node, kind: WorkloadKind) -> Strategy:
    if kind is not WorkloadKind.DEPLOYMENT:
        return Strategy.ROLLING
    mark = root.child("metadata").child("annotations").child(UPDATE_ANNOTATION)
    if mark.present:
        mark.choice(("in-place",), "")
        return Strategy.IN_PLACE
    kinds = (Strategy.ROLLING, Strategy.RECREATE)
    return Strategy(root.child("spec").child("strategy").child("type").choice(kinds, kinds[0]))


def _ordered(spec: Node, kind: WorkloadKind) -> bool:
    if kind is not WorkloadKind.STATEFUL_SET:
        return True
    policy = spec.child("podManagementPolicy").choice(("OrderedReady", "Parallel"), "OrderedReady")
    return policy == "OrderedReady"


def _governing_service(spec: Node, kind: WorkloadKind) -> str:
    name = spec.child("serviceName")
    return name.dns_label() if kind is WorkloadKind.STATEFUL_SET and name.text("") else ""


# Jobs


def _job(spec: Node, kind: WorkloadKind) -> JobPolicy | None:
    if kind is WorkloadKind.CRON_JOB:
        spec = spec.child("jobTemplate").child("spec")
    elif kind is not WorkloadKind.JOB:
        return None
    parallelism = spec.child("parallelism").integer(0, REPLICAS_LIMIT, default=1)
    completions = spec.child("completions")
    indexed = spec.child("completionMode").choice(("NonIndexed", "Indexed"), "NonIndexed")
    if indexed == "Indexed" and not completions.present:
        completions.fail("is nothing", "write how many indexes an Indexed Job has")
    return JobPolicy(
        # Without a number Kubernetes lets the pods, `parallelism` of them, agree on the end: each
        # of them has to succeed here.
        completions=completions.integer(0, 100_000, default=max(1, parallelism)),
        parallelism=parallelism,
        backoff_limit=spec.child("backoffLimit").integer(0, 2**31 - 1, default=6),
        active_deadline=spec.child("activeDeadlineSeconds").seconds(),
        ttl=spec.child("ttlSecondsAfterFinished").seconds(),
        indexed=indexed == "Indexed",
        suspended=spec.child("suspend").flag(),
    )


def _schedule(spec: Node) -> Schedule:
    return Schedule(
        expression=parse_schedule(spec.child("schedule")),
        timezone=_timezone(spec.child("timeZone")),
        concurrency=spec.child("concurrencyPolicy").choice(("Allow", "Forbid", "Replace"), "Allow"),
        suspended=spec.child("suspend").flag(),
        starting_deadline=spec.child("startingDeadlineSeconds").seconds(),
        successful_history=spec.child("successfulJobsHistoryLimit").integer(0, 1000, default=3),
        failed_history=spec.child("failedJobsHistoryLimit").integer(0, 1000, default=1),
    )


def _timezone(node: Node) -> str:
    name = node.text("")
    if not name:
        return ""
    try:
        return zoneinfo.ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        node.fail(
            f"{name!r:.60} is not a time zone this machine knows",
            "write a name such as Etc/UTC or Europe/Paris (they come with the package tzdata)",
        )
