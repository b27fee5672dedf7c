"""What every command of this room shares: the options that name the server, and its output."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from lapdev.account import Account, find_account
from lapdev.client.rest import Json, RestClient

Command = Callable[..., None]


ca_file_option = click.option(
    "--ca-file",
    metavar="FILE",
    help="Authorities to believe beside the machine's own.  [env: LAPDEV_CA_FILE]",
)


def account_of(given: Mapping[str, Any]) -> Account:
    """The server that a command's options name, and how it is reached."""
    ca_file = given["ca_file"] or ""
    return find_account(given["server"], given["token_file"], os.environ, ca_file=ca_file)


def with_client(command: Command) -> Command:
    """Gives a command `--server`, `--token-file`, `--ca-file` and `--json`; it is called with
    (client, as_json, …)."""

    @click.option("--server", metavar="URL", help="Where the cloud is.  [env: LAPDEV_SERVER]")
    @click.option(
        "--token-file", metavar="FILE", help="File with the API token.  [env: LAPDEV_TOKEN_FILE]"
    )
    @ca_file_option
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(command)
    def run(as_json: bool, **given: Any) -> None:
        own = {name: given.pop(name) for name in ("server", "token_file", "ca_file")}
        with RestClient(account_of(own)) as client:
            command(client, as_json, **given)

    return run


def print_json(value: Json) -> None:
    """One line of JSON."""
    click.echo(json.dumps(value))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, two spaces apart; only the heads when there are no rows."""
    cells = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def progress(text: str) -> None:
    """A line for whoever watches; stderr, so that a pipe gets only the result."""
    click.echo(text, err=True)
