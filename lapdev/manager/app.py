"""The manager role, put together: read `run` as the recipe it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from lapdev import log
from lapdev.cluster.driver import Driver, PodCredentials
from lapdev.errors import ConfigError
from lapdev.manager.changes import Changes
from lapdev.manager.cloud_link import CloudLink, ClusterPlace, Openers
from lapdev.manager.credentials import PodTokens
from lapdev.manager.logs import LogStreams
from lapdev.manager.reconciler import Reconciler
from lapdev.manager.reports import Reports
from lapdev.manager.sidecar_door import sidecar_door
from lapdev.manager.sidecars import SidecarFeed
from lapdev.manager.streams import ServiceStreams
from lapdev.model import EnvironmentId
from lapdev.net.admin import AdminServer, Metric, counter, gauge
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.net.overload import of_this_process, watched
from lapdev.net.process import notify_ready, stop_signals
from lapdev.net.tasks import Tasks
from lapdev.net.way_out import WayOut
from lapdev.settings import ManagerSettings, read_secret
from lapdev.tunnel import TunnelServer, Uplink, UplinkOptions, new_id, tunnel_metrics

DRAIN_TIMEOUT = 30.0
"""What is in flight has this long to end, once the cloud knows that nothing new is taken."""

CLOUD_PATH = "/_lapdev/tunnel/manager"


async def run(settings: ManagerSettings) -> None:
    """The manager serves until SIGTERM or SIGINT; then what is in flight ends, and what it runs.

    Raises:
        ConfigError: a setting is wrong or missing.
        ClusterError: this machine cannot run pods; says what to do.
    """
    token, runtime_dir = read_secret(settings, "token"), _runtime_dir(settings)
    # Leaving the stack is the drain, in the reverse of this order.
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        access = log.AccessLog(log.stderr_write, "manager", level=settings.log_level)
        stack.callback(access.flush)
        tasks, tokens = Tasks(), PodTokens()
        feed = SidecarFeed(tokens, tasks)

        sidecars = TunnelServer(feed)
        server = HttpServer(sidecar_door(feed.authenticate, sidecars))
        listener = await listen(
            settings.sidecar_listen or f"unix:{runtime_dir}/manager.sock", server.connection
        )
        stack.push_async_callback(listener.aclose)

        driver = _driver(settings, runtime_dir, str(listener.address), tokens)
        stack.push_async_callback(driver.aclose)
        await driver.start()
        await stack.enter_async_context(tasks)
        stack.push_async_callback(server.aclose)
        stack.push_async_callback(sidecars.aclose)

        changes: Changes[EnvironmentId] = Changes()
        reconciler = Reconciler(driver, tasks, feed, changes.mark)
        feed.on_applied = reconciler.namespace_changed
        reports = Reports(changes, reconciler.report, reconciler.environments)
        streams = ServiceStreams(driver, tasks, reconciler.check_target, access)
        logs = LogStreams(driver, tasks, reconciler.find_logs, access)
        reconciler.on_withdrawn = logs.end

        cloud = settings.sidecar_cloud or settings.cloud
        place = ClusterPlace(driver.name, driver.detail, cloud)
        overload = await stack.enter_async_context(watched(of_this_process()))
        openers = Openers(streams, logs, overload.admit)
        link = CloudLink(reconciler, reports, openers, tasks, place)
        instance, replaced = _instance(runtime_dir)
        uplink = Uplink(
            UplinkOptions(
                settings.cloud,
                CLOUD_PATH,
                token,
                "manager",
                instance,
                replaced,
                way=WayOut.from_environ(os.environ, settings.ca_file),
                links=settings.tunnel_links,
            ),
            link,
        )
        admin = AdminServer(
            settings.admin,
            lambda: [
                *_metrics(uplink, feed, reconciler, openers),
                *tunnel_metrics({"cloud": [uplink], "sidecar": [sidecars]}),
                *overload.metrics(),
            ],
            lambda: _ready(uplink, stop.is_set()),
        )
        await admin.start()
        stack.push_async_callback(admin.aclose)
        tasks.spawn(reports.run(), "reports")
        connected = await stack.enter_async_context(Tasks())
        connected.spawn(uplink.run(), "uplink")

        log.get_logger().info("role_started", address=str(listener.address))
        notify_ready(settings.ready_fd)
        await stop.wait()
        log.get_logger().info("role_stopping")
        await uplink.drain(DRAIN_TIMEOUT)


def _runtime_dir(settings: ManagerSettings) -> Path:
    if not settings.runtime_dir:
        raise ConfigError(
            "runtime_dir is not set", hint="set --runtime-dir to a short path of its own"
        )
    path = Path(settings.runtime_dir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"runtime_dir {path}: {exc.strerror}", hint="choose another") from exc
    return path


def _instance(runtime_dir: Path) -> tuple[str, str]:
    """(our instance, the one whose place we take, or "").

    A killed manager says no goodbye; its successor in the same runtime directory says it, so that
    the cloud ends the old streams at once instead of waiting out their grace.
    """
    path, instance = runtime_dir / "instance", new_id()
    try:
        replaced = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        replaced = ""
    draft = path.with_name("instance.new")
    try:
        draft.write_text(instance, encoding="ascii")
        draft.replace(path)
    except OSError as exc:
        log.get_logger().warning("instance_not_kept", target=str(path), error=str(exc))
    return instance, replaced


def _driver(
    settings: ManagerSettings, runtime_dir: Path, manager_address: str, tokens: PodCredentials
) -> Driver:
    """What runs pods. Imported only when chosen."""
    from lapdev.cluster.local import LocalDriver
    from lapdev.cluster.options import EdgeDoor, LocalOptions

    edge = None
    if settings.edge:
        edge = EdgeDoor(settings.edge_domain, settings.edge_port, settings.edge)
    options = LocalOptions(
        runtime_dir=runtime_dir,
        manager_address=manager_address,
        python=settings.python or sys.executable,
        private=tuple(path for path in (settings.data_dir, settings.token_file) if path),
        isolation=settings.isolation,
        volumes_dir=Path(settings.data_dir, "volumes") if settings.data_dir else None,
        edge=edge,
        ca_file=settings.ca_file,
    )
    return LocalDriver(options, tokens)


def _ready(uplink: Uplink, stopping: bool) -> tuple[bool, str]:
    if stopping:
        return False, "stopping"
    tunnel = uplink.tunnel
    if tunnel is None or not tunnel.connected:
        return False, "the cloud is not connected"
    return True, ""


def _metrics(
    uplink: Uplink, feed: SidecarFeed, reconciler: Reconciler, openers: Openers
) -> Iterable[Metric]:
    streams = openers.services
    up = uplink.tunnel is not None and uplink.tunnel.connected
    return [
        gauge("lapdev_uplink_up", "1 while the cloud is connected.", int(up)),
        gauge("lapdev_environments", "Environments held.", len(reconciler.environments())),
        gauge("lapdev_sidecars", "Sidecars connected.", feed.connected),
        gauge("lapdev_streams", "Streams open, or being opened.", streams.active),
        gauge("lapdev_log_streams", "Logs read or followed.", openers.logs.active),
        counter("lapdev_streams_total", "Streams the cloud asked for.", streams.opened),
        counter("lapdev_streams_failed_total", "Streams never joined to a pod.", streams.failed),
    ]
