"""How far an environment is, from how far its workloads are. Pure.

Ready means that everything that should go on does, and that every Job is done: whoever is told
"ready" may rely on what a migration was to bring. A CronJob keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Collection

from lapdev.cluster.manifests import WorkloadKind
from lapdev.model import EnvironmentStatus, WorkloadStatus


def progress(workloads: Collection[WorkloadStatus]) -> tuple[EnvironmentStatus, str]:
    """The environment's status, and what it waits for or what has failed for good."""
    counted = [found for found in workloads if found.kind != WorkloadKind.CRON_JOB]
    if failures := [f"{found.name}: {found.failed}" for found in counted if found.failed]:
        return EnvironmentStatus.FAILED, "; ".join(failures)
    unready = [found for found in counted if found.ready < found.wanted]
    if unready:
        details = (f"{found.name}: {found.detail}" for found in unready if found.detail)
        return EnvironmentStatus.STARTING, "; ".join(details)
    return EnvironmentStatus.READY, ""
