"""The repository: one object that the cloud opens, made of one piece per subject."""

from __future__ import annotations

from lapdev.store.clusters import ClusterRows
from lapdev.store.credentials import TokenRows
from lapdev.store.database import Database
from lapdev.store.environments import EnvironmentRows
from lapdev.store.exposures import ExposureRows
from lapdev.store.intercepts import InterceptRows
from lapdev.store.previews import PreviewRows
from lapdev.store.rows import ChooseTcpPort, no_tcp_ports


class Store(ClusterRows, EnvironmentRows, PreviewRows, InterceptRows, ExposureRows, TokenRows):
    """Everything that survives a restart. Every method is one transaction."""

    @classmethod
    async def open(cls, url: str, choose_tcp_port: ChooseTcpPort = no_tcp_ports) -> Store:
        """A store on a database with the newest schema.

        Args:
            choose_tcp_port: asked, inside the transaction, for each new raw TCP preview.

        Raises:
            ConfigError: the URL, the file or the database's version is not usable.
        """
        return cls(await Database.open(url), choose_tcp_port)

    async def aclose(self) -> None:
        """No connection to the database is open any more. Idempotent."""
        await self._database.aclose()

    async def revision(self) -> int:
        """The number of the last change."""
        return await self._last_revision()
