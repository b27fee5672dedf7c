"""`lapdev env logs`: what an environment's containers print."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import click

from lapdev.client.completing import environments, workloads
from lapdev.client.invocation import progress, with_client
from lapdev.client.log_lines import Follow, Look, Seen, Wish, past
from lapdev.client.rest import Json, RestClient
from lapdev.client.terminal import has_colours
from lapdev.errors import NotFound
from lapdev.wire.control import MAX_LOG_LINES

DEFAULT_LINES = 1000


@click.command()
@click.argument("environment", shell_complete=environments)
@click.argument("workload", required=False, shell_complete=workloads)
@click.option("-c", "--container", default="", metavar="NAME", help="Default: all.")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, MAX_LOG_LINES),
    default=DEFAULT_LINES,
    metavar="N",
    help=f"The last N of each container.  [default: {DEFAULT_LINES}]",
)
@click.option("--timestamps", is_flag=True, help="Say when each was printed (UTC).")
@with_client
def logs(client: RestClient, as_json: bool, environment: str, **given: Any) -> None:
    """Show what WORKLOAD prints; the name may be left out while there is only one.

    With several pods or containers each line says whose it is. With --json each line is an object.
    """
    workload = given["workload"] or _only_workload(client, environment)
    wish = Wish(environment, workload, given["container"], given["lines"])
    look = Look(given["timestamps"], has_colours(sys.stdout, os.environ))
    seen = Seen()

    def show(line: Json) -> None:
        click.echo(json.dumps(line) if as_json else look.text(line))

    # Known before the first is shown: whether several print, and the order over all of them.
    printed = past(client, wish)
    look.learn(printed)
    for line in printed:
        seen.is_new(line)
        show(line)
    if given["follow"]:
        for line in Follow(client, wish, seen, _note, time.sleep, time.monotonic).lines():
            show(line)


def _note(text: str) -> None:
    progress(f"lapdev: {text}")


def _only_workload(client: RestClient, environment: str) -> str:
    found = [w["name"] for w in client.call("GET", "environments", environment)["workloads"]]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise click.UsageError(f"name one of the workloads of {environment}: {', '.join(found)}")
    raise NotFound(
        f"{environment} has no workload yet", hint=f"`lapdev env status {environment}` says why"
    )
