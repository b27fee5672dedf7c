"""`lapdev down`: environments are gone, and so is the server that `lapdev up` started for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lapdev.account import data_dir, known_server, own_server
from lapdev.client.completing import environments
from lapdev.client.invocation import account_of, ca_file_option, print_json, progress
from lapdev.client.rest import ApiError, Json, RestClient
from lapdev.client.server_process import background_pid, stop_server
from lapdev.client.up import read_application_here
from lapdev.errors import Conflict


@click.command()
@click.argument("what", metavar="[NAME|FILE]...", nargs=-1, shell_complete=environments)
@click.option("--all", "everything", is_flag=True, help="Every environment, and the server.")
@click.option("--server", metavar="URL", help="Where the cloud is.  [env: LAPDEV_SERVER]")
@click.option(
    "--token-file", metavar="FILE", help="File with the API token.  [env: LAPDEV_TOKEN_FILE]"
)
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def down(what: tuple[str, ...], everything: bool, as_json: bool, **given: Any) -> None:
    """Delete what `lapdev up` made of these FILEs, or the environments NAME; wait until it is gone.

    Without either: what `lapdev up` takes here. A server that `lapdev up` started ends with the
    last environment.
    """
    if everything and what:
        raise click.UsageError("--all is every environment: name none")
    server = known_server(given["server"], os.environ)
    if server:
        with RestClient(account_of(given)) as client:
            found = client.call("GET", "environments")["environments"]
            names = {e["name"] for e in found} if everything else names_of(what, found)
            deleted = _delete(client, found, names, quiet=as_json)
            rest = client.call("GET", "environments")["environments"]
        ended = not rest and server == own_server(os.environ) and _end_server(quiet=as_json)
    else:
        names, deleted, ended = set() if everything else names_of(what, ()), [], False
    if as_json:
        print_json({"deleted": deleted, "server_ended": ended})
        return
    for name in deleted:
        click.echo(f"{name} is deleted")
    for name in sorted(names - {*deleted}):
        click.echo(f"{name}: nothing to do, there is no such environment")
    if everything and not deleted:
        click.echo("there is no environment")
    if ended:
        click.echo("lapdev in the background has ended")


def names_of(what: Sequence[str], environments: Sequence[Json]) -> set[str]:
    """The environments that these names and files stand for. What is both is a name.

    Raises:
        ConfigError: a file cannot be read.
    """
    known = {environment["name"] for environment in environments}
    files = [word for word in what if word not in known and _is_path(word)]
    names = {*what} - {*files}
    if files or not what:
        names.add(read_application_here(files).name)
    return names


def _is_path(word: str) -> bool:
    """Environment names have neither slash nor dot."""
    return "/" in word or "." in word or Path(word).is_dir()


def _delete(
    client: RestClient, found: Sequence[Json], names: set[str], *, quiet: bool
) -> list[str]:
    """The names of those that are deleted now. Branches go before what they are branches of.

    Raises:
        Conflict: one has branches that were not named.
    """
    chosen = [e for e in found if e["name"] in names]
    _refuse_branched(found, {e["name"] for e in chosen})
    for environment in sorted(chosen, key=lambda e: e["base"] is None):
        if not quiet:
            progress(f"{environment['name']}: stopping its workloads")
        try:
            client.call("DELETE", "environments", environment["name"])
        except ApiError as exc:
            if exc.answer_status != 404:  # somebody else was faster
                raise
    return sorted(e["name"] for e in chosen)


def _refuse_branched(environments: Sequence[Json], chosen: set[str]) -> None:
    for name in sorted(chosen):
        branches = {e["name"] for e in environments if e["base"] == name} - chosen
        if branches:
            words = " ".join(sorted(branches))
            raise Conflict(
                f"{name} has branches: {', '.join(sorted(branches))}",
                hint=f"`lapdev down {name} {words}` deletes them, too",
            )


def _end_server(*, quiet: bool) -> bool:
    """The server of this machine has ended, if it is one that `up` started."""
    directory = data_dir(os.environ)
    if not background_pid(directory):
        return False
    if not quiet:
        progress("no environment is left: ending lapdev in the background")
    return stop_server(directory)
