"""`lapdev devbox intercept`: the part of the devbox commands that needs only the API."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from lapdev.account import connected_environment, device_id, state_dir
from lapdev.client.invocation import print_json, print_table, with_client
from lapdev.client.rest import Json, RestClient


@click.group("intercept")
def intercept_group() -> None:
    """Take a service's traffic to this machine."""


@intercept_group.command()
@click.argument("service")
@click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    envvar="LAPDEV_ENVIRONMENT",
    metavar="NAME",
    help="Default: the one `devbox connect` works in.  [env: LAPDEV_ENVIRONMENT]",
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="SERVICE[:LOCAL]",
    help="A service port and the local port; several times for several. Default: all ports.",
)
@click.option(
    "--include-branches", is_flag=True, help="On a shared environment: requests of branches, too."
)
@click.option("--device", metavar="ID", help="Default: this machine.")
@with_client
def add(client: RestClient, as_json: bool, service: str, **given: Any) -> None:
    """Take the traffic of SERVICE while this machine is connected."""
    environment = given["environment"] or connected_environment(os.environ)
    if not environment:
        raise click.UsageError("name the environment with --environment, or connect first")
    body = {
        "service": service,
        "device": given["device"] or _this_device(),
        "ports": [_port(text) for text in given["ports"]],
        "include_branches": given["include_branches"],
    }
    made = client.call("POST", "environments", environment, "intercepts", body=body)
    if as_json:
        print_json(made)
        return
    click.echo(f"intercept {made['id']}: {service} of {environment}")
    for port in made["ports"]:
        click.echo(f"  port {port['service_port']} -> localhost:{port['local_port']}")
    if not made["device_connected"]:
        click.echo(
            f"It begins once this machine is connected: `lapdev devbox connect -e {environment}`"
        )


@intercept_group.command("list")
@click.option(
    "-e", "--env", "--environment", "environment", metavar="NAME", help="Only of this environment."
)
@click.option("--all", "everyone", is_flag=True, help="Of all devices, not only this one.")
@with_client
def list_(client: RestClient, as_json: bool, environment: str | None, everyone: bool) -> None:
    """List this machine's intercepts."""
    if environment:
        found = client.call("GET", "environments", environment, "intercepts")
    else:
        query = None if everyone else {"device": _this_device()}
        found = client.call("GET", "intercepts", query=query)
    if as_json:
        print_json(found)
        return
    environments = client.call("GET", "environments")["environments"]
    names = {environment["id"]: environment["name"] for environment in environments}
    print_table(
        ["ID", "ENVIRONMENT", "SERVICE", "PORTS", "DEVICE", "CONNECTED"],
        [
            [
                item["id"],
                names.get(item["environment"], item["environment"]),
                item["service"],
                ",".join(f"{p['service_port']}:{p['local_port']}" for p in item["ports"]),
                item["device"],
                "yes" if item["device_connected"] else "no",
            ]
            for item in found["intercepts"]
        ],
    )


@intercept_group.command()
@click.argument("which", metavar="SERVICE|ID")
@with_client
def rm(client: RestClient, as_json: bool, which: str) -> None:
    """End an intercept.

    Its name is its id, or the service this machine intercepts.
    """
    id = _intercept_id(client, which)
    client.call("DELETE", "intercepts", id)
    if as_json:
        print_json({"removed": id})
    else:
        click.echo(f"intercept {id} is removed: its requests go to the cluster again")


def _this_device() -> str:
    return device_id(state_dir(os.environ))


def _intercept_id(client: RestClient, which: str) -> str:
    """A service's name becomes the id of this machine's one intercept on it."""
    own = client.call("GET", "intercepts", query={"device": _this_device()})["intercepts"]
    found = [item["id"] for item in own if item["service"] == which]
    if len(found) > 1:
        ids = ", ".join(found)
        raise click.UsageError(
            f"several intercepts of this machine are on {which}: name one: {ids}"
        )
    return str(found[0]) if found else which


def _port(text: str) -> Json:
    service, _, local = text.partition(":")
    numbers = [service, local or service]
    if not all(re.fullmatch("[0-9]{1,5}", n) and 0 < int(n) < 65536 for n in numbers):
        raise click.BadParameter(f"{text!r} is not SERVICE_PORT:LOCAL_PORT", param_hint="--port")
    return {"service_port": int(numbers[0]), "local_port": int(numbers[1])}
