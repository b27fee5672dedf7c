"""`lapdev env`: environments and branches."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from lapdev.client.completing import clusters, environments, workloads
from lapdev.client.invocation import print_json, print_table, progress, with_client
from lapdev.client.logs import logs
from lapdev.client.manifest_files import read_manifests
from lapdev.client.rest import Json, RestClient
from lapdev.client.shown import print_environment
from lapdev.client.waiting import wait_ready
from lapdev.errors import ConfigError

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

WAIT_TIMEOUT = 300.0


@click.group()
def group() -> None:
    """Environments and branches."""


group.add_command(logs)


def _wait_options() -> Decorator:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command = click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            default=WAIT_TIMEOUT,
            metavar="SECONDS",
            help=f"How long --wait waits.  [default: {WAIT_TIMEOUT:g}]",
        )(command)
        return click.option("--wait", is_flag=True, help="Return when it is ready.")(command)

    return decorate


@group.command("list")
@with_client
def list_(client: RestClient, as_json: bool) -> None:
    """List all environments."""
    found = client.call("GET", "environments")
    if as_json:
        print_json(found)
        return
    print_table(
        ["NAME", "KIND", "BASE", "STATUS", "CLUSTER", "DETAIL"],
        [
            [e["name"], e["kind"], e["base"] or "-", e["status"], e["cluster"], e["detail"]]
            for e in found["environments"]
        ],
    )


@group.command()
@click.argument("name")
@click.option("-f", "--file", required=True, metavar="FILE", help="Kubernetes YAML; - is stdin.")
@click.option(
    "--kind",
    type=click.Choice(["shared", "personal"]),
    default="shared",
    show_default=True,
    help="Only a shared one can have branches.",
)
@click.option(
    "--cluster",
    default="",
    metavar="NAME",
    shell_complete=clusters,
    help="Default: the only one there is.",
)
@_wait_options()
@with_client
def create(client: RestClient, as_json: bool, name: str, file: str, **given: Any) -> None:
    """Create an environment from Kubernetes objects."""
    body = {
        "name": name,
        "kind": given["kind"],
        "cluster": given["cluster"],
        "manifests": read_manifests(file),
    }
    _finish(client, as_json, client.call("POST", "environments", body=body), given)


@group.command()
@click.argument("base", shell_complete=environments)
@click.argument("name")
@_wait_options()
@with_client
def branch(client: RestClient, as_json: bool, base: str, name: str, **given: Any) -> None:
    """Create branch NAME of the shared environment BASE."""
    made = client.call("POST", "environments", base, "branches", body={"name": name})
    _finish(client, as_json, made, given)


@group.command()
@click.argument("branch", shell_complete=environments)
@click.argument("workload", shell_complete=workloads)
@click.option("--env", "env", multiple=True, metavar="K=V", help="Set a variable.")
@click.option("--unset", multiple=True, metavar="K", help="Remove a variable.")
@click.option("--image", metavar="IMAGE", help="Another image.")
@click.option("--command", metavar="COMMAND", help="Words as in a shell; replaces arguments too.")
@click.option("--container", default="", metavar="NAME", help="Default: the only one.")
@click.option("-f", "--file", metavar="FILE", help="A whole manifest instead of changes.")
@_wait_options()
@with_client
def override(client: RestClient, as_json: bool, branch: str, workload: str, **given: Any) -> None:
    """Give BRANCH its own version of WORKLOAD."""
    path = ("environments", branch, "workloads", workload)
    made = client.call("PUT", *path, body=_override_body(given))
    _finish(client, as_json, made, given)


def _override_body(given: Json) -> Json:
    changes: Json = {}
    if given["env"] or given["unset"]:
        changes["env"] = dict(map(_variable, given["env"])) | dict.fromkeys(given["unset"])
    if given["image"]:
        changes["image"] = given["image"]
    if given["command"]:
        changes["command"], changes["args"] = _words(given["command"]), []
    if bool(changes) == bool(given["file"]):
        raise click.UsageError("give changes (--env, --unset, --image, --command) or --file")
    if not given["file"]:
        return {"patch": {given["container"]: changes}}
    manifests = read_manifests(given["file"])
    if len(manifests) != 1:
        raise ConfigError(
            f"{given['file']}: holds {len(manifests)} objects", hint="leave the one Deployment"
        )
    return {"manifest": manifests[0]}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--command") from exc


@group.command()
@click.argument("branch", shell_complete=environments)
@click.argument("workload", shell_complete=workloads)
@_wait_options()
@with_client
def reset(client: RestClient, as_json: bool, branch: str, workload: str, **given: Any) -> None:
    """Let BRANCH use its base's WORKLOAD again."""
    made = client.call("DELETE", "environments", branch, "workloads", workload)
    _finish(client, as_json, made, given)


@group.command()
@click.argument("name", shell_complete=environments)
@with_client
def status(client: RestClient, as_json: bool, name: str) -> None:
    """Show an environment with its workloads, services and URLs."""
    found = client.call("GET", "environments", name)
    if as_json:
        print_json(found)
    else:
        print_environment(found, _cluster_detail(client, found))


def _cluster_detail(client: RestClient, environment: Json) -> str:
    clusters = client.call("GET", "clusters")["clusters"]
    return next((str(c["detail"]) for c in clusters if c["name"] == environment["cluster"]), "")


@group.command()
@click.argument("name", shell_complete=environments)
@with_client
def delete(client: RestClient, as_json: bool, name: str) -> None:
    """Delete an environment; returns when nothing of it runs."""
    if not as_json:
        progress(f"{name}: stopping its workloads")
    client.call("DELETE", "environments", name)
    if as_json:
        print_json({"deleted": name})
    else:
        click.echo(f"{name} is deleted")


def _finish(client: RestClient, as_json: bool, made: Json, given: Json) -> None:
    if given["wait"]:
        made = wait_ready(client, made["name"], given["timeout"])
    if as_json:
        print_json(made)
    else:
        print_environment(made)
