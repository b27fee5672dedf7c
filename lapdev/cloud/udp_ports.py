"""Exposures of datagrams: a UDP port of this machine each, whose senders get a stream each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from lapdev.cloud.tcp_previews import TcpRange
from lapdev.log import get_logger
from lapdev.model import ExposureId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import DatagramInlet, Stream

OpenStream = Callable[[asyncio.Protocol], Stream]
"""Raises LapdevError: the datagram is lost."""


class UdpPorts:
    """Receives for every exposure of datagrams there is."""

    def __init__(self, ports: TcpRange | None, tasks: Tasks) -> None:
        """The sockets are closed with `tasks`."""
        self._ports = ports
        self._tasks = tasks
        self._served: dict[ExposureId, tuple[int, asyncio.Task[None]]] = {}
        self._problems: dict[ExposureId, str] = {}
        self._refreshing = asyncio.Lock()

    def problem(self, id: ExposureId) -> str:
        """Why nobody receives for it; empty when somebody does."""
        return "" if id in self._served else self._problems.get(id, "not listened for yet")

    async def refresh(self, wanted: Mapping[ExposureId, tuple[int, OpenStream]]) -> None:
        """Exactly these have their port open, as far as it is free."""
        async with self._refreshing:
            for id, (port, task) in list(self._served.items()):
                if id not in wanted or wanted[id][0] != port:
                    del self._served[id]
                    task.cancel()
                    await asyncio.wait([task])
            self._problems = {id: why for id, why in self._problems.items() if id in wanted}
            for id, (port, open_stream) in wanted.items():
                if id not in self._served:
                    await self._serve(id, port, open_stream)

    async def _serve(self, id: ExposureId, port: int, open_stream: OpenStream) -> None:
        if self._ports is None or port not in self._ports:
            self._problems[id] = f"port {port} is not in {self._ports or 'tcp_previews'}"
            return
        try:
            sock = _bound(self._ports.host, port)
        except OSError as exc:
            self._problems[id] = f"cannot receive on port {port}: {exc.strerror or exc}"
            get_logger().warning("udp_port_not_served", route=id, error=self._problems[id])
            return
        _, inlet = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: DatagramInlet(open_stream), sock=sock
        )
        task = self._tasks.spawn(_until_cancelled(), f"datagrams of {id}")
        # Not in the task: one that is cancelled before its first step has no `finally`.
        task.add_done_callback(lambda _: inlet.close())
        self._served[id] = (port, task)


def _bound(host: str, port: int) -> socket.socket:
    # Not by the loop: uvloop leaves a socket behind that could not be bound.
    info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, proto, _, address = info[0]
    sock = socket.socket(family, kind, proto)
    try:
        # The process that takes this one's place receives beside it for a while.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


async def _until_cancelled() -> None:
    await asyncio.Event().wait()
