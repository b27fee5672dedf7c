"""`lapdev up`: an application from its files to its URLs in one command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from lapdev.account import data_dir, known_server
from lapdev.client.application_files import (
    COMPOSE_NAMES,
    KUSTOMIZATIONS,
    Application,
    read_application,
)
from lapdev.client.completing import clusters
from lapdev.client.invocation import account_of, ca_file_option, print_json, progress
from lapdev.client.rest import Json, RestClient
from lapdev.client.server_process import ensure_server
from lapdev.client.shown import print_previews
from lapdev.client.waiting import wait_ready
from lapdev.client.watching import LOOK_INTERVAL, Watcher
from lapdev.client.working_dirs import folder_of, with_working_dirs
from lapdev.cluster.compose.values import dns_label
from lapdev.cluster.manifests import check_references, parse_objects
from lapdev.errors import ConfigError, LapdevError
from lapdev.serve import error_line

WAIT_TIMEOUT = 300.0
NOT_ISOLATED = "without isolation"
"""A cluster that says this is missing what every application counts on: names and ports."""
DEFAULT_FOLDERS = ("k8s", "kubernetes", "manifests")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    paths: tuple[str, ...]
    profiles: tuple[str, ...]
    name: str
    kind: str | None
    cluster: str
    wait: bool
    timeout: float
    as_json: bool

    def read(self) -> Application:
        """The application, as far as it can be checked without a cluster."""
        application = read_application_here(self.paths, self.profiles)
        check_references(parse_objects(application.objects))
        return application


class _FilesChangedError(Exception):
    """A watched file changed while the environment was waited for."""


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@click.option("--name", default="", metavar="NAME", help="Default: as the files or their folder.")
@click.option(
    "--kind",
    type=click.Choice(["shared", "personal"]),
    default=None,
    help="Of a new one. Only a shared one can have branches.  [default: shared]",
)
@click.option("--cluster", default="", metavar="NAME", shell_complete=clusters, help="Where.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Of a Compose file.")
@click.option("--watch", is_flag=True, help="Then apply the files again whenever they change.")
@click.option("-d", "--detach", "--no-wait", is_flag=True, help="Do not wait until it is ready.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=WAIT_TIMEOUT,
    metavar="SECONDS",
    help=f"How long to wait.  [default: {WAIT_TIMEOUT:g}]",
)
@click.option(
    "--isolation/--no-isolation",
    default=None,
    help="For a server that is started here: namespaces for pods.  [default: isolation]",
)
@click.option("--server", metavar="URL", help="Where the cloud is.  [env: LAPDEV_SERVER]")
@click.option(
    "--token-file", metavar="FILE", help="File with the API token.  [env: LAPDEV_TOKEN_FILE]"
)
@ca_file_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def up(files: tuple[str, ...], **given: Any) -> None:
    """Bring an application up: FILEs of Kubernetes YAML or Compose, or a folder of them.

    Without FILE: compose.yaml, a kustomization or a folder k8s here. What runs already as the files
    say is left alone. Without a server, one is started in the background; `lapdev down` ends it.
    """
    wish = Wish(
        paths=files,
        profiles=given["profiles"],
        name=given["name"],
        kind=given["kind"],
        cluster=given["cluster"],
        wait=not given["detach"],
        timeout=given["timeout"],
        as_json=given["as_json"],
    )
    application = wish.read()  # before a server is started: most mistakes are here
    use_server(given["server"], given["isolation"])
    with RestClient(account_of(given)) as client:
        if given["watch"]:
            _watch(client, wish, application)
        else:
            _bring_up(client, wish, application)


def read_application_here(
    paths: Sequence[str], profiles: Sequence[str] = (), folder: Path | None = None
) -> Application:
    """The application of these files or, when none is named, the one that this folder has.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    if paths:
        return read_application(paths, os.environ, profiles)
    folder = Path() if folder is None else folder
    found = next((path for path in _places(folder) if path.exists()), None)
    if found is None:
        raise ConfigError(
            f"{folder.resolve()} has no compose.yaml, no kustomization.yaml and no folder k8s",
            hint="name the files: `lapdev up FILE...`",
        )
    if found.name not in DEFAULT_FOLDERS:
        return read_application([str(folder)], os.environ, profiles)
    # Every project has a folder of that name: what tells them apart is the folder around it.
    application = read_application([str(found)], os.environ, profiles)
    return replace(application, name=dns_label(folder.resolve().name) or application.name)


def _places(folder: Path) -> list[Path]:
    return [folder / name for name in (*COMPOSE_NAMES, *KUSTOMIZATIONS, *DEFAULT_FOLDERS)]


def use_server(server: str | None, isolation: bool | None) -> None:
    """A server is known: the one that is named or runs here, or else one that is started now.

    Raises:
        LapdevError: it could not be started.
    """
    if known_server(server, os.environ):
        if isolation is not None:
            progress("the server runs already: how it isolates pods stays as it is")
        return
    flags = [] if isolation is None else ["--isolation" if isolation else "--no-isolation"]
    directory = data_dir(os.environ)
    progress("starting lapdev in the background")
    start = ensure_server(directory, flags, os.environ)
    if start.port_taken:
        progress("port 8080 is taken: it has another, which the URLs show")
    if start.started:
        progress(f"started lapdev in the background (log: {start.log_file})")


def _bring_up(
    client: RestClient,
    wish: Wish,
    application: Application,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """The environment is as the application says, and ready if that is wished."""
    name = wish.name or application.name
    for note in application.notes:
        progress(f"note: {note}")
    objects = with_working_dirs(application.objects, folder_of(wish.paths))
    body: Json = {"cluster": wish.cluster, "manifests": objects}
    if wish.kind:
        body["kind"] = wish.kind
    found = client.call("PUT", "environments", name, body=body)
    changes, ignored = found["changes"], found["ignored"]
    for line in change_lines(changes, ignored):
        progress(line)
    for line in unmet_wishes(client, found, application.objects):
        progress(line)
    if wish.wait:
        try:
            found = wait_ready(client, name, wish.timeout, pause)
        except KeyboardInterrupt:
            progress(f"\n{name} goes on without you: `lapdev down {name}` ends it")
            raise
    if wish.as_json:
        print_json({**found, "changes": changes, "ignored": ignored, "notes": application.notes})
        return
    click.echo(f"\n{name} is {'up' if wish.wait else 'on its way'}.\n")
    if found["previews"]:
        print_previews(found["previews"])
        click.echo()
    click.echo(f"  lapdev env status {name}    {_logs_command(found)} -f    lapdev down {name}")


def _logs_command(environment: Json) -> str:
    """Of several workloads one has to be named."""
    names = [workload["name"] for workload in environment["workloads"]]
    return " ".join(("lapdev env logs", environment["name"], *(names[:1] if names[1:] else ())))


def change_lines(changes: Json, ignored: Sequence[str]) -> list[str]:
    """What an application changed, and what of it means nothing here."""
    lines = [
        f"{title}: {', '.join(changes[title])}"
        for title in ("created", "changed", "removed")
        if changes[title]
    ]
    if not lines:
        lines = ["nothing changed"]
    if ignored:
        lines.append(f"without meaning here: {', '.join(ignored)}")
    return lines


def unmet_wishes(client: RestClient, environment: Json, objects: Sequence[Json]) -> list[str]:
    """What the cluster cannot do and the application may count on: limits, volumes, names."""
    clusters = client.call("GET", "clusters")["clusters"]
    detail = next((c["detail"] for c in clusters if c["name"] == environment["cluster"]), "")
    concerned = NOT_ISOLATED in detail or any(map(_counts_on_the_machine, objects))
    return [f"note: cluster {environment['cluster']}: {detail}"] if detail and concerned else []


def _counts_on_the_machine(value: object) -> bool:
    """An object has limits or mounts somewhere in its containers."""
    match value:
        case {"resources": {"limits": {}}} | {"volumeMounts": [_, *_]}:
            return True
        case dict():
            return any(map(_counts_on_the_machine, value.values()))
        case list():
            return any(map(_counts_on_the_machine, value))
        case _:
            return False


def _watch(client: RestClient, wish: Wish, first: Application) -> None:
    """Applies again on every change, until Ctrl-C. The environment stays.

    A mistake is told, and mended by the next change.
    """
    application: Application | None = first
    name = wish.name or first.name
    # A folder changes when a file comes or goes.
    folders = [path for path in (*wish.paths, *DEFAULT_FOLDERS) if Path(path).is_dir()]
    watcher = Watcher({*first.files, *folders})

    def pause(seconds: float) -> None:
        time.sleep(min(seconds, LOOK_INTERVAL))
        if watcher.changed():
            raise _FilesChangedError

    while True:
        try:
            application = wish.read() if application is None else application
            watcher.watch({*application.files, *folders})
            _bring_up(client, wish, application, pause)
        except _FilesChangedError:
            progress("the files changed meanwhile")
        except LapdevError as exc:
            progress(error_line(exc))
        else:
            progress("watching for changes; Ctrl-C ends that")
        try:
            watcher.wait_changed(time.sleep)
        except KeyboardInterrupt:
            progress(f"\n{name} stays up: `lapdev down {name}` ends it")
            raise
        application = None
