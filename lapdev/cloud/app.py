"""The cloud role, put together: read `run` as the recipe it is."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterable
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
from lapdev.cloud.hub import Hub, Links
from lapdev.cloud.logs import LogReaders
from lapdev.cloud.tcp_previews import TcpPreviews, parse_tcp_range
from lapdev.cloud.tokens import InterceptTokens, load_or_create_secret, sha256_hex
from lapdev.errors import ConfigError
from lapdev.model import DeviceId, Intercept, InterceptId
from lapdev.net.address import Address, TcpAddress
from lapdev.net.admin import AdminServer, Metric, counter, gauge
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.net.process import notify_ready, stop_signals
from lapdev.net.tasks import Tasks
from lapdev.net.tls import certificate_of
from lapdev.settings import CloudSettings
from lapdev.store import Store, no_tcp_ports
from lapdev.tunnel import TunnelServer
from lapdev.wire.control import InterceptGrant

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


async def run(settings: CloudSettings) -> None:
    """The cloud serves until SIGTERM or SIGINT, then drains."""
    log.configure("cloud", settings.log_level)
    data_dir = _data_dir(settings)
    certificate = certificate_of(settings.tls_cert, settings.tls_key)
    access = log.AccessLog(log.stderr_write, "cloud", level=settings.log_level)
    async with contextlib.AsyncExitStack() as stack:
        stop = stack.enter_context(stop_signals())
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
        tcp = TcpPreviews(tcp_range, tasks, access)
        stack.push_async_callback(tcp.aclose)
        hub = Hub(store, tasks, edge, tcp, Links(clusters, devices, sidecars, exposures))
        exposures.ports_changed, exposures.port_problem = hub.refresh_ports, tcp.problem
        await hub.refresh_previews()

        gate = Gate(store, tasks)
        tunnels = [TunnelServer(handler) for handler in (clusters, sidecars, devices)]
        gate.serve(*tunnels)

        urls = PreviewUrls(
            settings.domain, settings.public_url, tcp_range.host if tcp_range else ""
        )
        exposures.url_of = urls.of_exposure
        service = ApiService(store, hub, tokens, urls.of)
        stack.push_async_callback(service.aclose)
        logs = LogReaders(clusters)
        api = AsgiBridge(create_api(service, logs), tasks)
        front = Front(settings.domain, settings.public_url, edge, gate, api)
        server = HttpServer(front.handle)
        pods = HttpServer(PreviewsOnly(settings.domain, edge).handle)
        for tunnel_server in tunnels:
            tunnel_server.on_draining = lambda tunnel: edge.leave(
                tunnel, server.connections | pods.connections
            )
        # Last, because whoever waited in an inherited socket's backlog is served at once.
        public = await listen(settings.listen, server.connection, tls=certificate)
        urls.served_at(public.address, tls=certificate is not None)
        _warn_of_strangers(public.address)
        if tcp_range is not None:
            _warn_of_strangers(TcpAddress(tcp_range.host, tcp_range.first))
        listeners = [public]
        if settings.internal_listen:
            listeners.append(await listen(settings.internal_listen, server.connection))
        if settings.edge_listen:
            listeners.append(await listen(settings.edge_listen, pods.connection))
        admin = AdminServer(
            settings.admin,
            lambda: _metrics(server, edge, tunnels, tcp, exposures),
            lambda: _ready(server),
        )
        await admin.start()
        stack.push_async_callback(admin.aclose)
        await service.finish_deletions()
        log.get_logger().info("role_started", target=str(public.address))
        notify_ready(settings.ready_fd)

        await stop.wait()
        log.get_logger().info("role_stopping")
        server.draining = pods.draining = True
        for listener in listeners:
            await listener.aclose()
        logs.stop()
        await asyncio.gather(server.aclose(), pods.aclose(), tcp.drain())
        for tunnel_server in tunnels:
            await tunnel_server.aclose()


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


def _metrics(
    server: HttpServer,
    edge: Edge,
    tunnels: Iterable[TunnelServer],
    tcp: TcpPreviews,
    exposures: Exposures,
) -> list[Metric]:
    counters = edge.counters
    return [
        gauge("lapdev_connections", "Open downstream connections.", len(server.connections)),
        gauge("lapdev_tunnels", "Open tunnels.", sum(len(list(t.tunnels)) for t in tunnels)),
        gauge("lapdev_previews", "Preview URLs the edge knows.", len(edge.index.entries)),
        gauge("lapdev_exposures", "Exposures whose devbox is connected.", exposures.connected),
        gauge(
            "lapdev_tcp_previews",
            "Raw TCP previews and exposures that are listened for.",
            tcp.listening,
        ),
        gauge("lapdev_tcp_connections", "Open connections to them.", tcp.connections),
        counter("lapdev_edge_requests_total", "Requests for preview hosts.", counters.requests),
        counter(
            "lapdev_edge_unknown_hosts_total",
            "Requests for hosts that are no preview.",
            counters.unknown_hosts,
        ),
        counter(
            "lapdev_edge_failures_total", "Requests the edge answered itself.", counters.failures
        ),
        counter("lapdev_edge_retries_total", "Requests sent a second time.", counters.retries),
    ]
