"""What a namespace's pods find at their gateway: names, and the way to preview URLs."""

from __future__ import annotations

import asyncio

from lapdev.cluster.name_server import Answer, NameServer, Resolve
from lapdev.cluster.options import EdgeDoor, LocalOptions
from lapdev.cluster.service_proxy import Front, ServiceProxy
from lapdev.cluster.subnets import Subnet


class Gateway:
    """Serves one namespace while it is open. Nothing of one namespace is reached from another."""

    def __init__(
        self, options: LocalOptions, subnet: Subnet, bridge: str, resolve: Resolve
    ) -> None:
        """`resolve` knows the cluster's names; those of preview URLs are known here."""
        self._edge = options.edge
        self._address = subnet.gateway
        self._resolve = resolve
        self._names = NameServer(subnet.gateway, bridge, self.resolve)
        self._hairpin = _hairpin(options.edge, subnet.gateway, bridge) if options.edge else None

    async def open(self) -> None:
        """Pods resolve names and reach preview URLs.

        Raises:
            ClusterError: the gateway's address cannot be listened on; then nothing is open.
        """
        try:
            await self._names.open()
            if self._hairpin is not None:
                await self._hairpin.update()
        except BaseException:
            await asyncio.shield(self.aclose())
            raise

    async def aclose(self) -> None:
        """Nothing listens and nothing is relayed. Idempotent."""
        await self._names.aclose()
        if self._hairpin is not None:
            await self._hairpin.aclose()

    def resolve(self, name: str) -> Answer | None:
        """What pods get for a full name: preview URLs lead here, the rest is the cluster's."""
        if self._edge is not None and name.endswith(f".{self._edge.domain.lower()}"):
            return Answer((self._address,))
        return self._resolve(name)


def _hairpin(edge: EdgeDoor, host: str, device: str) -> ServiceProxy:
    # Where the URLs' port and the gateway meet, connections go out by the same door as ours.
    return ServiceProxy(Front(host, edge.port, device, lambda: (edge.upstream,)))
