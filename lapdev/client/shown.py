"""How an environment looks to people: its state, its URLs, its workloads."""

from __future__ import annotations

import click

from lapdev.client.invocation import print_table
from lapdev.client.rest import Json
from lapdev.client.waiting import is_done


def print_environment(found: Json, cluster_detail: str = "") -> None:
    """Everything about it. `cluster_detail` is what its cluster cannot do."""
    of_base = f" of {found['base']}" if found["base"] else ""
    detail = f" ({found['detail']})" if found["detail"] else ""
    click.echo(f"{found['name']}: {found['kind']}{of_base}, {found['status']}{detail}")
    if cluster_detail:
        click.echo(f"cluster {found['cluster']}: {cluster_detail}")
    for title, names in (("changed", found["changed"]), ("branches", found["branches"])):
        if names:
            click.echo(f"{title}: {', '.join(names)}")
    for preview in found["previews"]:
        click.echo(f"preview of {preview_name(preview)}: {preview['url']}")
    for intercept in found["intercepts"]:
        state = "connected" if intercept["device_connected"] else "not connected"
        click.echo(f"intercept {intercept['id']}: {intercept['service']}, device {state}")
    if found["workloads"]:
        click.echo()
        print_workloads(found["workloads"])


def print_workloads(workloads: list[Json]) -> None:
    """A table."""
    heads = ["WORKLOAD", "KIND", "READY", "RESTARTS", "LAST EXIT", "DETAIL"]
    rows: list[list[object]] = []
    for item in workloads:
        rows.append(
            [
                item["name"],
                item["kind"],
                "done" if is_done(item) else f"{item['ready']}/{item['wanted']}",
                item["restarts"],
                item["last_exit"] or "-",
                f"failed: {item['failed']}" if item["failed"] else item["detail"],
            ]
        )
        pods = {container["pod"] for container in item["containers"]}
        for inside in item["containers"]:
            name = inside["name"] if len(pods) == 1 else f"{inside['pod']}/{inside['name']}"
            ended = inside["last_exit"] or "-"
            rows.append([f"  {name}", "", inside["state"], inside["restarts"], ended, ""])
    print_table(heads, rows)


def preview_name(preview: Json) -> str:
    """What a URL leads to: a service port, or services by their paths."""
    if not _routes(preview):
        return f"{preview['service']}:{preview['port']}"
    return ", ".join(
        f"{route['path']} to {route['service']}:{route['port']}" for route in preview["routes"]
    )


def print_previews(previews: list[Json]) -> None:
    """A block of names and URLs; a preview by paths has a line below for each."""
    width = max((len(_short(preview)) for preview in previews), default=0)
    for preview in previews:
        problem = f"  (not served: {preview['status']})" if preview["status"] else ""
        click.echo(f"  {_short(preview):<{width}}  {preview['url']}{problem}")
        for route in _routes(preview):
            path = route["path"] + (" exactly" if route["exact"] else "")
            click.echo(f"  {'':<{width}}    {path} leads to {route['service']}:{route['port']}")


def _routes(preview: Json) -> list[Json]:
    """Its paths; none where all of them lead to the service it is named by."""
    routes: list[Json] = preview["routes"]
    whole = {"path": "/", "exact": False, **{key: preview[key] for key in ("service", "port")}}
    return [] if routes == [whole] else routes


def _short(preview: Json) -> str:
    return preview["name"] or f"{preview['service']}:{preview['port']}"
