"""Where the pod template stands in a workload's object, as written."""

from __future__ import annotations

from typing import Any

from lapdev.cluster.manifests.workload import WorkloadKind

WORKLOAD_KINDS = frozenset(str(kind) for kind in WorkloadKind)
"""Kinds of objects that run pods."""

_PATHS = {
    WorkloadKind.CRON_JOB: ("spec", "jobTemplate", "spec", "template"),
    WorkloadKind.POD: (),
}
_PATH = ("spec", "template")


def template_path(kind: str) -> tuple[str, ...]:
    """The members that lead to the pod template; none for a bare Pod, which is one itself."""
    return _PATHS.get(WorkloadKind(kind), _PATH)


def pod_template_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The mapping with a workload's pods' `metadata` and `spec`: a part of `manifest`, no copy.

    `manifest` is one that `parse_workload` has accepted.
    """
    template = manifest
    for name in template_path(manifest["kind"]):
        template = template[name]
    return template
