"""The cloud role, put together: read `run` as the recipe it is."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

from lapdev import log
from lapdev.cloud.actions import ApiService
from lapdev.cloud.api import create_api
from lapdev.cloud.asgi import AsgiBridge
from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.devices import DeviceLinks, SidecarLinks
from lapdev.cloud.edge import Edge
from lapdev.cloud.exposures import Exposures
from lapdev.cloud.front import Front, PreviewsOnly, PreviewUrls
from lapdev.cloud.gate import Gate
from lapdev.cloud.handover import Handover, Predecessor, predecessor
from lapdev.cloud.hub import Hub, Links
from lapdev.cloud.logs import LogReaders
from lapdev.cloud.metrics import metrics
from lapdev.cloud.tcp_previews import TcpPreviews, parse_tcp_range
from lapdev.cloud.tokens import InterceptTokens, load_or_create_secret, sha256_hex
from lapdev.errors import ConfigError
from lapdev.model import DeviceId, Intercept, InterceptId
from lapdev.net.address import Address, TcpAddress
from lapdev.net.admin import AdminServer
from lapdev.net.http_server import HttpServer, Leaving
from lapdev.net.overload import Overload, of_this_process, watched
from lapdev.net.process import notify_ready, stop_signals
from lapdev.net.sockets import ListeningSockets
from lapdev.net.tasks import Tasks
from lapdev.net.tls import certificate_of
from lapdev.settings import CloudSettings
from lapdev.store import Store, no_tcp_ports
from lapdev.tunnel import TunnelServer
from lapdev.wire.control import InterceptGrant

DRAIN_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
"""Of what does not end because we would like it to, when nothing follows us: raw connections,
streams between a sidecar and a laptop."""

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What `run` and its steps speak of."""

    sockets: ListeningSockets
    tasks: Tasks
    edge: Edge
    exposures: Exposures
    tcp: TcpPreviews
    hub: Hub
    tunnels: list[TunnelServer]
    urls: PreviewUrls
    service: ApiService
    logs: LogReaders
    server: HttpServer
    pods: HttpServer
    overload: Overload


async def run(settings: CloudSettings) -> None:
    """The cloud serves until SIGTERM or SIGINT, or until another takes over; then it drains."""
    log.configure("cloud", settings.log_level)
    data_dir = _data_dir(settings)
    async with contextlib.AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        before = await stack.enter_async_context(predecessor(data_dir, settings.take_over))
        sockets = ListeningSockets(before.sockets if before else ())
        stack.callback(sockets.close_left)
        handover = Handover(data_dir, sockets.offers)
        stack.push_async_callback(handover.aclose)
        parts = await _make(settings, data_dir, sockets, stack)
        # Last, because whoever waited in a socket's backlog is served at once.
        address = await _listen(settings, parts, stack)
        if before is None:
            await parts.service.finish_deletions()
        else:
            await before.succeed()
            parts.tasks.spawn(_follow(before, parts), "follow the process before")
        sockets.close_left()
        handover.start(following=before is not None)
        parts.hub.on_changed = handover.tell_changed
        log.get_logger().info("role_started", target=str(address))
        notify_ready(settings.ready_fd)
        await _either(stop, handover.taken)
        await _drain(parts, handover)


async def _make(
    settings: CloudSettings,
    data_dir: Path,
    sockets: ListeningSockets,
    stack: contextlib.AsyncExitStack,
) -> _Parts:
    """Everything but the listeners; `stack` closes it."""
    access = log.AccessLog(log.stderr_write, "cloud", level=settings.log_level)
    stack.callback(access.flush)
    tcp_range = parse_tcp_range(settings.tcp_previews)
    store = await Store.open(
        settings.database or f"sqlite:///{data_dir / 'lapdev.db'}",
        no_tcp_ports if tcp_range is None else tcp_range.choose,
    )
    stack.push_async_callback(store.aclose)
    await _seed(store, settings)
    tasks = await stack.enter_async_context(Tasks())
    tokens = InterceptTokens(load_or_create_secret(data_dir / "token-key"))

    grant = functools.partial(_grant, tokens)
    clusters = ClusterLinks(store, tasks, grant)
    exposures = Exposures(store, tasks, tcp_range)
    await exposures.load()
    devices = DeviceLinks(store, tasks, clusters, exposures)
    sidecars = SidecarLinks(tasks, devices, functools.partial(_device_of, store))
    edge = Edge(settings.domain, clusters, exposures, tasks, access)
    edge.answer_timeout = settings.answer_timeout
    tcp = TcpPreviews(tcp_range, tasks, access, sockets)
    stack.push_async_callback(tcp.aclose)
    hub = Hub(store, tasks, edge, tcp, Links(clusters, devices, sidecars, exposures))
    exposures.ports_changed, exposures.port_problem = hub.refresh_ports, tcp.problem

    gate = Gate(store, tasks)
    tunnels = [TunnelServer(handler) for handler in (clusters, sidecars, devices)]
    gate.serve(*tunnels)

    urls = PreviewUrls(settings.domain, settings.public_url, tcp_range.host if tcp_range else "")
    exposures.url_of = urls.of_exposure
    service = ApiService(store, hub, tokens, urls.of)
    stack.push_async_callback(service.aclose)
    logs = LogReaders(clusters)
    api = AsgiBridge(create_api(service, logs), tasks)
    front = Front(settings.domain, settings.public_url, edge, gate, api)
    overload = await stack.enter_async_context(watched(of_this_process()))
    tcp.admit = exposures.admit = overload.admit
    server = HttpServer(overload.guard(front.handle, "edge"))
    pods = HttpServer(overload.guard(PreviewsOnly(settings.domain, edge).handle, "edge"))
    for tunnel_server in tunnels:
        tunnel_server.admit_session = overload.admit_session
        tunnel_server.on_draining = lambda tunnel: edge.leave(
            tunnel, server.connections | pods.connections
        )
    linked = (exposures, tcp, hub, tunnels, urls, service, logs)
    return _Parts(sockets, tasks, edge, *linked, server, pods, overload)


async def _listen(
    settings: CloudSettings, parts: _Parts, stack: contextlib.AsyncExitStack
) -> Address:
    """Everything is served; the address is the public one."""
    sockets, server = parts.sockets, parts.server
    await parts.hub.refresh_previews()
    certificate = certificate_of(settings.tls_cert, settings.tls_key)
    public = (await sockets.listen(settings.listen, server.connection, certificate)).address
    parts.urls.served_at(public, tls=certificate is not None)
    _warn_of_strangers(public)
    if parts.tcp.ports is not None:
        _warn_of_strangers(TcpAddress(parts.tcp.ports.host, parts.tcp.ports.first))
    if settings.internal_listen:
        await sockets.listen(settings.internal_listen, server.connection)
    if settings.edge_listen:
        await sockets.listen(settings.edge_listen, parts.pods.connection)
    seen = (server, parts.edge, parts.tunnels, parts.tcp, parts.exposures, parts.overload)
    admin = AdminServer(settings.admin, lambda: metrics(*seen), lambda: _ready(server))
    await admin.start(sockets)
    stack.push_async_callback(admin.aclose)
    return public


async def _follow(before: Predecessor, parts: _Parts) -> None:
    """What the process before us still changes takes effect here; what it began is finished."""
    await before.follow(parts.hub.reread)
    await parts.hub.reread()
    await parts.service.finish_deletions()


async def _either(*events: asyncio.Event) -> None:
    async with Tasks() as tasks:
        waiting = {tasks.spawn(event.wait(), "wait for an event") for event in events}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


async def _drain(parts: _Parts, handover: Handover) -> None:
    """Nothing new is taken; what there is has ended, within `DRAIN_TIMEOUT`.

    With a process that follows us there is no hurry: what need not end has all of that time.
    """
    began = asyncio.get_running_loop().time()
    leaving, others = Leaving(idle_timeout=1.0), STOP_TIMEOUT
    if not handover.taken.is_set():
        log.get_logger().info("role_stopping")
        await handover.aclose()  # the next one need not wait for us
        await parts.sockets.aclose()
    else:
        log.get_logger().info("role_handed_over")
        leaving, others = Leaving(idle_timeout=5.0, switched_timeout=DRAIN_TIMEOUT), DRAIN_TIMEOUT
        parts.sockets.release()
        handover.release()
    for tunnel_server in parts.tunnels:
        tunnel_server.go_away(DRAIN_TIMEOUT)
    parts.logs.stop()
    await asyncio.gather(
        parts.server.aclose(leaving), parts.pods.aclose(leaving), parts.tcp.drain(others)
    )
    left = began + DRAIN_TIMEOUT - asyncio.get_running_loop().time()
    drains = [server.drain(min(max(left, 0.0), others)) for server in parts.tunnels]
    await asyncio.gather(*drains)


def _data_dir(settings: CloudSettings) -> Path:
    if not settings.data_dir:
        raise ConfigError("data_dir is not set", hint="set --data-dir to a directory of its own")
    path = Path(settings.data_dir)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


async def _seed(store: Store, settings: CloudSettings) -> None:
    """The first cluster and the first API token exist, when files with their tokens are named."""
    if settings.cluster_token_file:
        token = load_or_create_secret(Path(settings.cluster_token_file))
        await store.ensure_cluster(settings.cluster_name, sha256_hex(token))
    if settings.bootstrap_token_file:
        token = load_or_create_secret(Path(settings.bootstrap_token_file))
        await store.ensure_token(sha256_hex(token), "bootstrap")


def _grant(tokens: InterceptTokens, intercept: Intercept) -> InterceptGrant:
    return InterceptGrant(intercept, tokens.token(intercept.id))


async def _device_of(store: Store, intercept: str) -> DeviceId:
    return (await store.intercept(InterceptId(intercept))).device


def _warn_of_strangers(address: Address) -> None:
    """Previews have no access levels yet: who reaches the listener reaches them."""
    if isinstance(address, TcpAddress) and address.host not in LOOPBACK_HOSTS:
        log.get_logger().warning("previews_open_to_network", address=str(address))


def _ready(server: HttpServer) -> tuple[bool, str]:
    return (False, "draining") if server.draining else (True, "")
