"""`lapdev preview`: preview URLs."""

from __future__ import annotations

import click

from lapdev.client.invocation import print_json, print_table, with_client
from lapdev.client.rest import RestClient


@click.group()
def group() -> None:
    """Preview URLs."""


@group.command("list")
@click.argument("environment")
@with_client
def list_(client: RestClient, as_json: bool, environment: str) -> None:
    """List the preview URLs of ENVIRONMENT."""
    found = client.call("GET", "environments", environment, "previews")
    if as_json:
        print_json(found)
        return
    print_table(
        ["SERVICE", "PORT", "URL"],
        [[p["service"], p["port"], p["url"]] for p in found["previews"]],
    )


@group.command()
@click.argument("environment")
@click.argument("service")
@click.argument("port", type=click.IntRange(1, 65535))
@with_client
def create(client: RestClient, as_json: bool, environment: str, service: str, port: int) -> None:
    """Create a preview URL for SERVICE:PORT of ENVIRONMENT and print it."""
    body = {"service": service, "port": port}
    made = client.call("POST", "environments", environment, "previews", body=body)
    if as_json:
        print_json(made)
    else:
        click.echo(made["url"])
