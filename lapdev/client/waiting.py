"""Waiting until an environment is ready, saying what it waits for and why."""

from __future__ import annotations

import time
from collections.abc import Callable

from lapdev.client.log_lines import Wish, last_lines
from lapdev.client.rest import Json, RestClient
from lapdev.client.terminal import Ticker
from lapdev.errors import ClusterError, NotReady

POLL_INTERVAL = 0.5
FIRST_INTERVAL = 0.1
"""Many environments are ready within a second."""
EXCERPT_LINES = 10
BUSY = "the cluster is taking it up"


def wait_ready(
    client: RestClient,
    name: str,
    timeout: float,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """The environment, ready. Each new fact about what it waits for is a line of progress.

    Raises:
        ClusterError: it failed.
        NotReady: it was not ready within `timeout` seconds.
    """
    began = clock()
    story = Story()
    interval = FIRST_INTERVAL
    with Ticker() as ticker:
        while True:
            found = client.call("GET", "environments", name)
            elapsed = clock() - began
            for line in story.news(found):
                ticker.say(f"{elapsed:6.1f} s  {line}")
            if found["status"] == "ready":
                return found
            for workload in story.newly_ended(found):
                _say_last_lines(client, name, workload, ticker)
            missing = waits_for(found)
            if found["status"] == "failed":
                raise ClusterError(
                    f"{name} failed: {found['detail'] or missing}", hint=_see_more(found)
                )
            if elapsed >= timeout:
                _say_what_hangs(client, found, ticker)
                raise NotReady(
                    f"{name} is not ready after {timeout:g} s: {missing}", hint=_see_more(found)
                )
            ticker.show(f"{elapsed:6.1f} s  waiting for {missing}")
            pause(interval)
            interval = min(interval * 1.5, POLL_INTERVAL)


class Story:
    """What has been said of an environment so far."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()
        self._waited_for: set[str] = set()
        self._ended: set[tuple[str, str]] = set()

    def news(self, environment: Json) -> list[str]:
        """Lines for what has not been said: what is missing, and what no longer is.

        Each is said once, however often it comes back: a workload that ends and starts, ends and
        starts, is two lines.
        """
        lines = []
        for workload in environment["workloads"]:
            name = workload["name"]
            if not is_ready(workload):
                self._waited_for.add(name)
            elif name not in self._waited_for:
                continue  # it was ready when we came
            lines += self._new(name, fact(workload))
        # Why it failed is the error's to say.
        if not self._waited_for and environment["status"] not in ("ready", "failed"):
            lines += self._new("", environment["detail"] or BUSY)
        return lines

    def newly_ended(self, environment: Json) -> list[Json]:
        """Workloads a container of which has ended in a way not seen before."""
        found = []
        for workload in environment["workloads"]:
            key = (workload["name"], failure(workload))
            if not is_ready(workload) and key[1] and key not in self._ended:
                self._ended.add(key)
                found.append(workload)
        return found

    def _new(self, name: str, text: str) -> list[str]:
        if (name, text) in self._said:
            return []
        self._said.add((name, text))
        return [f"{name}: {text}" if name else text]


def is_ready(workload: Json) -> bool:
    """Nothing waits for it."""
    return bool(workload["ready"] >= workload["wanted"] and not workload["failed"])


def is_done(workload: Json) -> bool:
    """It is a Job whose runs have all succeeded."""
    return bool(
        workload["kind"] == "Job"
        and workload["wanted"]
        and workload["succeeded"] >= workload["wanted"]
    )


def failure(workload: Json) -> str:
    """How it last ended, or else why it failed for good; empty when neither."""
    return str(workload["last_exit"] or workload["failed"])


def fact(workload: Json) -> str:
    """How far a workload is, and what keeps it, in words."""
    if is_done(workload):
        return "done"
    if workload["failed"]:
        return f"failed: {workload['failed']}"
    if is_ready(workload):
        return "ready"
    parts = [f"{workload['ready']}/{workload['wanted']} ready", workload["detail"]]
    # The detail often says it already, with what is done about it.
    ended = workload["last_exit"]
    if ended and ended.partition(": ")[2] not in workload["detail"]:
        parts.append(f"last exit: {ended}")
    return ", ".join(filter(None, parts))


def waits_for(environment: Json) -> str:
    """What stands between an environment and being ready, in words."""
    behind = [
        f"{workload['name']} ({fact(workload)})"
        for workload in environment["workloads"]
        if not is_ready(workload)
    ]
    return ", ".join(behind) or environment["detail"] or BUSY


def _see_more(environment: Json) -> str:
    name = environment["name"]
    found = [item for item in environment["workloads"] if not is_ready(item)]
    found.sort(key=lambda item: not item["failed"])  # those that nothing will mend first
    behind = [item["name"] for item in found]
    logs = f", `lapdev env logs {name} {behind[0]}` what it prints" if behind else ""
    return f"`lapdev env status {name}` shows its workloads{logs}"


def _say_what_hangs(client: RestClient, environment: Json, ticker: Ticker) -> None:
    """The last lines of what neither became ready nor ended: a loop that waits says for what."""
    for workload in environment["workloads"]:
        if is_ready(workload) or failure(workload):
            continue
        if lines := _last_lines_of(client, environment["name"], workload):
            ticker.say(f"          {workload['name']} printed last:")
            _say(lines, ticker)


def _say_last_lines(client: RestClient, name: str, workload: Json, ticker: Ticker) -> None:
    _say(_last_lines_of(client, name, workload), ticker)


def _last_lines_of(client: RestClient, name: str, workload: Json) -> list[str]:
    """What the container that ended printed last; of all of them, where that is not known."""
    container = workload["last_exit"].partition(":")[0]
    for wanted in (container, ""):
        wish = Wish(name, workload["name"], wanted, EXCERPT_LINES)
        if lines := last_lines(client, wish):
            return lines
    return []


def _say(lines: list[str], ticker: Ticker) -> None:
    for line in lines:
        ticker.say(f"          | {line}")
