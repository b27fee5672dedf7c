"""Waiting until an environment is ready, saying what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from lapdev.client.invocation import progress
from lapdev.client.rest import Json, RestClient
from lapdev.errors import ClusterError, NotReady

POLL_INTERVAL = 0.5


def wait_ready(
    client: RestClient,
    name: str,
    timeout: float,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """The environment, ready. Each new thing it waits for is a line of progress.

    Raises:
        ClusterError: it failed.
        NotReady: it was not ready within `timeout` seconds.
    """
    deadline = clock() + timeout
    said = ""
    while True:
        found = client.call("GET", "environments", name)
        if found["status"] == "ready":
            return found
        missing = waits_for(found)
        if found["status"] == "failed":
            raise ClusterError(
                f"{name} failed: {found['detail'] or missing}",
                hint=f"mend the manifests; `lapdev env status {name}` shows more",
            )
        if missing != said:
            said = missing
            progress(f"{name} is not ready yet: {missing}")
        if clock() >= deadline:
            raise NotReady(
                f"{name} is not ready after {timeout:g} s: {missing}",
                hint=f"`lapdev env status {name}` shows its workloads",
            )
        pause(POLL_INTERVAL)


def waits_for(environment: Json) -> str:
    """What stands between an environment and being ready, in words."""
    behind = [
        f"{workload['name']} ({workload['ready']}/{workload['wanted']} ready"
        + (f": {workload['detail']})" if workload["detail"] else ")")
        for workload in environment["workloads"]
        if workload["ready"] < workload["wanted"]
    ]
    return ", ".join(behind) or environment["detail"] or "the cluster is taking it up"
