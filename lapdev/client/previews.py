"""`lapdev preview`: preview URLs."""

from __future__ import annotations

from typing import Any

import click

from lapdev.client.completing import environments, services
from lapdev.client.invocation import print_json, print_table, progress, with_client
from lapdev.client.rest import RestClient
from lapdev.client.shown import preview_name
from lapdev.errors import NotFound

_PORT = click.IntRange(1, 65535)
_PORT.name = "port"  # as errors call it


@click.group()
def group() -> None:
    """Preview URLs."""


@group.command("list")
@click.argument("environment", required=False, shell_complete=environments)
@with_client
def list_(client: RestClient, as_json: bool, environment: str | None) -> None:
    """List the preview URLs of ENVIRONMENT, or of all environments."""
    names = [environment] if environment else _environments(client)
    found = {name: client.call("GET", "environments", name, "previews") for name in names}
    if as_json:
        print_json({"previews": [p for answer in found.values() for p in answer["previews"]]})
        return
    rows = [
        [name, preview_name(p), p["url"], p["status"]]
        for name, answer in found.items()
        for p in answer["previews"]
    ]
    print_table(["ENVIRONMENT", "LEADS TO", "URL", "DETAIL"], rows)
    if not rows:
        place = environment or "ENVIRONMENT"
        progress(f"there is none yet: `lapdev preview create {place} SERVICE PORT` makes one")


def _environments(client: RestClient) -> list[str]:
    return [found["name"] for found in client.call("GET", "environments")["environments"]]


@group.command()
@click.argument("environment", shell_complete=environments)
@click.argument("service", shell_complete=services)
@click.argument("port", type=_PORT)
@click.option("--tcp", is_flag=True, help="A port for any protocol over TCP, in place of a URL.")
@click.option(
    "--answer-timeout",
    type=click.IntRange(0, 86_400),
    metavar="SECONDS",
    help="Give up an app that takes longer to begin its answer. 0: never.",
)
@with_client
def create(client: RestClient, as_json: bool, environment: str, **given: Any) -> None:
    """Create a preview URL for SERVICE:PORT of ENVIRONMENT and print it.

    One that is there already is printed; --answer-timeout is set on it.
    """
    said = {name: value for name, value in given.items() if value is not None}
    made = client.call("POST", "environments", environment, "previews", body=said)
    if as_json:
        print_json(made)
        return
    click.echo(made["url"])
    if made["status"]:
        progress(f"it is not served: {made['status']}")


@group.command()
@click.argument("which", metavar="URL|LABEL")
@with_client
def rm(client: RestClient, as_json: bool, which: str) -> None:
    """Remove a preview URL.

    One that the manifests ask for comes back with the next `lapdev up`.
    """
    label = _label(client, which)
    client.call("DELETE", "previews", label)
    if as_json:
        print_json({"removed": label})
    else:
        click.echo(f"preview {label} is removed")


def _label(client: RestClient, which: str) -> str:
    """The label in a URL; of a raw TCP preview, whose URL has none, by asking."""
    if "://" not in which:
        return which
    host = which.partition("://")[2].partition("/")[0]
    if not which.startswith("tcp://"):
        return host.partition(".")[0]
    for name in _environments(client):
        for preview in client.call("GET", "environments", name, "previews")["previews"]:
            if preview["url"] == which.rstrip("/"):
                return str(preview["label"])
    raise NotFound(f"there is no preview {which}", hint="`lapdev preview list` shows them all")
