"""What every command of this room shares: the options that name the server, and its output."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from lapdev.account import find_account
from lapdev.client.rest import Json, RestClient

Command = Callable[..., None]


def with_client(command: Command) -> Command:
    """Gives a command `--server`, `--token-file` and `--json`; it is called with
    (client, as_json, …)."""

    @click.option("--server", metavar="URL", help="Where the cloud is.  [env: LAPDEV_SERVER]")
    @click.option(
        "--token-file", metavar="FILE", help="File with the API token.  [env: LAPDEV_TOKEN_FILE]"
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(command)
    def run(server: str | None, token_file: str | None, as_json: bool, **given: Any) -> None:
        with RestClient(find_account(server, token_file, os.environ)) as client:
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
