"""`lapdev cluster`: clusters."""

from __future__ import annotations

import click

from lapdev.client.invocation import print_json, print_table, with_client
from lapdev.client.rest import RestClient


@click.group()
def group() -> None:
    """Clusters."""


@group.command("list")
@with_client
def list_(client: RestClient, as_json: bool) -> None:
    """List the clusters and whether their managers are connected."""
    found = client.call("GET", "clusters")
    if as_json:
        print_json(found)
        return
    print_table(
        ["NAME", "STATUS", "DETAIL"],
        [[c["name"], c["status"], c["detail"]] for c in found["clusters"]],
    )
