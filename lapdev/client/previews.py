"""`lapdev preview`: preview URLs."""

from __future__ import annotations

import click

from lapdev.client.invocation import print_json, print_table, progress, with_client
from lapdev.client.rest import RestClient

_PORT = click.IntRange(1, 65535)
_PORT.name = "port"  # as errors call it


@click.group()
def group() -> None:
    """Preview URLs."""


@group.command("list")
@click.argument("environment", required=False)
@with_client
def list_(client: RestClient, as_json: bool, environment: str | None) -> None:
    """List the preview URLs of ENVIRONMENT, or of all environments."""
    names = [environment] if environment else _environments(client)
    found = {name: client.call("GET", "environments", name, "previews") for name in names}
    if as_json:
        print_json({"previews": [p for answer in found.values() for p in answer["previews"]]})
        return
    rows = [
        [name, p["service"], p["port"], p["url"]]
        for name, answer in found.items()
        for p in answer["previews"]
    ]
    print_table(["ENVIRONMENT", "SERVICE", "PORT", "URL"], rows)
    if not rows:
        place = environment or "ENVIRONMENT"
        progress(f"there is none yet: `lapdev preview create {place} SERVICE PORT` makes one")


def _environments(client: RestClient) -> list[str]:
    return [found["name"] for found in client.call("GET", "environments")["environments"]]


@group.command()
@click.argument("environment")
@click.argument("service")
@click.argument("port", type=_PORT)
@with_client
def create(client: RestClient, as_json: bool, environment: str, service: str, port: int) -> None:
    """Create a preview URL for SERVICE:PORT of ENVIRONMENT and print it."""
    body = {"service": service, "port": port}
    made = client.call("POST", "environments", environment, "previews", body=body)
    if as_json:
        print_json(made)
    else:
        click.echo(made["url"])
