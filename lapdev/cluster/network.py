"""Bridges and veth pairs inside the manager's network namespace, by netlink.

One bridge per environment namespace. Packets that enter from a bridge reach that bridge's pods and
the services listening on it, and nothing else: a rule sends the rest to a table that refuses.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lapdev.cluster.subnets import Subnet
from lapdev.errors import ClusterError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

LOCAL_TABLE = 255
HOST_SCOPE = 254
REFUSING_TABLE = 100
RULE_PRIORITY = 100


class Network:
    """All calls run one after the other in a thread of their own: netlink blocks."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._netlink: IPRoute | None = None
        self._links = itertools.count(1)

    async def start(self) -> None:
        await self._call(self._open)

    async def aclose(self) -> None:
        if self._netlink is not None:
            await self._call(self._netlink.close)
            self._netlink = None
        self._thread.shutdown(wait=False)

    async def add_namespace(self, subnet: Subnet) -> str:
        """The name of a new bridge that has the subnet's gateway address."""
        await self._call(self._add_bridge, subnet)
        return _bridge_name(subnet)

    async def remove_namespace(self, subnet: Subnet) -> None:
        await self._call(self._remove_bridge, subnet)

    async def add_pod(self, bridge: str, holder: int) -> None:
        """`eth0` in the network namespace of process `holder` is a port of the bridge.

        It goes when that namespace goes.
        """
        await self._call(self._add_veth, bridge, holder)

    async def _call(self, function: Callable[..., object], *args: Any) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, function, *args)
        except Exception as exc:
            # The library raises errors of several unrelated kinds.
            raise ClusterError(f"cannot set up the pods' network: {exc}") from exc

    def _open(self) -> None:
        from pyroute2 import IPRoute  # slow to import, and pods without isolation do without

        self._netlink = netlink = IPRoute()
        netlink.route("add", table=REFUSING_TABLE, dst="0.0.0.0/0", type="unreachable")
        # Refusals are told to the pod every time, or it would wait for a timeout.
        _set_sysctl("icmp_ratelimit", "0")

    def _add_bridge(self, subnet: Subnet) -> None:
        netlink = self._opened()
        name = _bridge_name(subnet)
        # Without an address of its own a bridge takes that of its lowest port: when that pod goes,
        # the others talk to an address nobody has until their ARP entries expire.
        mac = ":".join(f"{octet:02x}" for octet in (2, 0, *ip_address(subnet.gateway).packed))
        netlink.link("add", ifname=name, kind="bridge", address=mac)
        index = netlink.link_lookup(ifname=name)[0]
        prefix = subnet.network.prefixlen
        netlink.addr("add", index=index, address=subnet.gateway, prefixlen=prefix)
        netlink.link("set", index=index, state="up")
        # Every service address is ours without being listed one by one.
        netlink.route("add", **_services_route(subnet))
        netlink.rule("add", iifname=name, table=REFUSING_TABLE, priority=RULE_PRIORITY)
        # Only a forwarding interface answers "unreachable"; the rule lets nothing through.
        _set_sysctl(f"conf/{name}/forwarding", "1")

    def _remove_bridge(self, subnet: Subnet) -> None:
        netlink = self._opened()
        name = _bridge_name(subnet)
        netlink.rule("del", iifname=name, table=REFUSING_TABLE, priority=RULE_PRIORITY)
        netlink.route("del", **_services_route(subnet))
        netlink.link("del", index=netlink.link_lookup(ifname=name)[0])

    def _add_veth(self, bridge: str, holder: int) -> None:
        netlink = self._opened()
        name = f"pod{next(self._links)}"
        netlink.link("add", ifname=name, kind="veth", peer={"ifname": "eth0", "net_ns_pid": holder})
        index = netlink.link_lookup(ifname=name)[0]
        master = netlink.link_lookup(ifname=bridge)[0]
        netlink.link("set", index=index, master=master, state="up")

    def _opened(self) -> IPRoute:
        assert self._netlink is not None, "start() comes first"
        return self._netlink


def _bridge_name(subnet: Subnet) -> str:
    return f"env{subnet.index}"


def _services_route(subnet: Subnet) -> dict[str, Any]:
    return {
        "dst": str(subnet.services.network),
        "type": "local",
        "oif": 1,
        "table": LOCAL_TABLE,
        "scope": HOST_SCOPE,
    }


def _set_sysctl(name: str, value: str) -> None:
    try:
        (Path("/proc/sys/net/ipv4") / name).write_text(value)
    except OSError:
        return  # a read-only /proc/sys: refusals may then be slow, nothing else changes
