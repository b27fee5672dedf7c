"""The admin listener of every role: /livez, /readyz, /metrics.

Roles keep plain integers; they become `Metric`s when somebody scrapes. The text exposition format
(Prometheus, version 0.0.4) is written here: importing prometheus-client costs a sidecar 4 MB, and
counters and gauges need thirty lines. Its parser reads the output in the tests.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer, ServerOptions
from lapdev.net.listener import Listener
from lapdev.net.sockets import ListeningSockets

Labels = Mapping[str, str]

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_EXPOSITION = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_OPTIONS = ServerOptions(idle_timeout=30.0, body_timeout=5.0, drain_timeout=1.0)


@dataclass(slots=True)
class Metric:
    """One family of samples, as a scrape sees it."""

    name: str
    """`lapdev_<what>_<unit>`; a counter's ends in `_total`."""
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[tuple[Labels, float]] = field(default_factory=list)


def gauge(name: str, help_text: str, value: float) -> Metric:
    """A gauge with a single sample."""
    return Metric(name, "gauge", help_text, [({}, value)])


def counter(name: str, help_text: str, value: float) -> Metric:
    """A counter with a single sample."""
    return Metric(name, "counter", help_text, [({}, value)])


def exposition(metrics: Iterable[Metric]) -> bytes:
    """The metrics in the text format."""
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escape(metric.help)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for labels, value in metric.samples:
            pairs = ",".join(f'{key}="{_escape(text, quote=True)}"' for key, text in labels.items())
            shown = f"{{{pairs}}}" if pairs else ""
            lines.append(f"{metric.name}{shown} {_number(value)}")
    return ("\n".join(lines) + "\n").encode()


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def process_metrics() -> list[Metric]:
    """What every process tells about itself, under the names Prometheus gives them."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no object per descriptor
    cpu = time.process_time()
    return [
        gauge("process_resident_memory_bytes", "Resident memory.", resident),
        gauge("process_open_fds", "Open file descriptors.", descriptors),
        counter("process_cpu_seconds_total", "User and system time spent.", cpu),
    ]


class AdminServer:
    """Serves the admin endpoints of one process."""

    def __init__(
        self,
        address: str,
        metrics: Callable[[], Iterable[Metric]],
        ready: Callable[[], tuple[bool, str]],
    ) -> None:
        """`ready` answers whether work can be taken, and why not. An empty address: no listener."""
        self.address = address
        self._metrics = metrics
        self._ready = ready
        self._server: HttpServer | None = None
        self._listener: Listener | None = None

    async def start(self, sockets: ListeningSockets | None = None) -> None:
        """The endpoints answer; `address` says where, with port 0 replaced.

        `sockets` may have one for it that another process left.

        Raises:
            ConfigError: the address is taken, or not ours to bind.
        """
        if self.address:
            self._server = HttpServer(self._answer, _OPTIONS)
            sockets = sockets or ListeningSockets()
            self._listener = await sockets.listen(self.address, self._server.connection)
            self.address = str(self._listener.address)

    async def aclose(self) -> None:
        """Nothing is served any more. Idempotent."""
        if self._listener is not None:
            await self._listener.aclose()
        if self._server is not None:
            await self._server.aclose()

    def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.target.partition(b"?")[0]
        if path not in (b"/livez", b"/readyz", b"/metrics"):
            exchange.respond(404, [_TEXT], b"here are /livez, /readyz and /metrics\n")
        elif request.method not in (b"GET", b"HEAD"):
            exchange.respond(405, [_TEXT, (b"allow", b"GET, HEAD")], b"GET or HEAD only\n")
        elif path == b"/metrics":
            body = exposition([*self._metrics(), *process_metrics()])
            exchange.respond(200, [_EXPOSITION], body)
        elif path == b"/livez":
            exchange.respond(200, [_TEXT], b"ok\n")
        else:
            ready, reason = self._ready()
            exchange.respond(200 if ready else 503, [_TEXT], (reason or "ok").encode() + b"\n")
