"""The address plan: which addresses a namespace, its pods and its services get."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from lapdev.errors import ClusterError

NAMESPACE_PREFIX = 22
"""Per namespace: a /23 for pods and a /23 for services."""

ISOLATED_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
"""Set aside for benchmarks (RFC 2544): no network a laptop meets uses it."""
LOOPBACK_RANGE = ipaddress.IPv4Network("127.64.0.0/10")
"""Pods without isolation: every address of it is the machine itself."""


@dataclass(slots=True)
class Pool:
    """Hands out addresses, the one unused for longest first: a dead pod's is not reused at once."""

    network: ipaddress.IPv4Network
    skip: int
    """Addresses at the start that are never handed out."""
    _free: list[str] = field(default_factory=list)
    _next: int = 0

    def take(self) -> str:
        """Raises ClusterError when all are in use."""
        self.check_room(1)
        if self._next < self._size:
            self._next += 1
            return str(self.network[self.skip + self._next - 1])
        return self._free.pop(0)

    def check_room(self, count: int) -> None:
        """Raises ClusterError when `take` would, before that many have been taken."""
        if count > self._size - self._next + len(self._free):
            raise ClusterError(
                f"all {self._size} addresses of {self.network} are in use",
                hint="delete workloads or services that are no longer needed, or use a second"
                " environment",
            )

    @property
    def _size(self) -> int:
        return self.network.num_addresses - self.skip - 1

    def give_back(self, address: str) -> None:
        self._free.append(address)


@dataclass(slots=True)
class Subnet:
    """The addresses of one namespace."""

    index: int
    network: ipaddress.IPv4Network
    pods: Pool = field(init=False)
    services: Pool = field(init=False)

    def __post_init__(self) -> None:
        low, high = self.network.subnets(prefixlen_diff=1)
        self.pods = Pool(low, skip=2)
        self.services = Pool(high, skip=1)

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.network[1])


@dataclass(slots=True)
class AddressPlan:
    """Divides a range among namespaces."""

    range: ipaddress.IPv4Network
    first: int = 0
    """The first namespace handed out is this one of the range; then those after it, in a ring."""
    _used: set[int] = field(default_factory=set)

    def take(self) -> Subnet:
        count = 1 << (NAMESPACE_PREFIX - self.range.prefixlen)
        ring = ((self.first + number) % count for number in range(count))
        index = next((number for number in ring if number not in self._used), None)
        if index is None:
            raise ClusterError(
                f"all {count} namespaces are in use", hint="delete environments first"
            )
        self._used.add(index)
        size = 1 << (32 - NAMESPACE_PREFIX)
        base = int(self.range.network_address) + index * size
        return Subnet(index, ipaddress.IPv4Network((base, NAMESPACE_PREFIX)))

    def give_back(self, subnet: Subnet) -> None:
        self._used.discard(subnet.index)
