"""The repository: one object that the cloud opens, made of one piece per subject."""

from __future__ import annotations

from lapdev.store.clusters import ClusterRows
from lapdev.store.credentials import TokenRows
from lapdev.store.database import Database
from lapdev.store.environments import EnvironmentRows
from lapdev.store.intercepts import InterceptRows
from lapdev.store.previews import PreviewRows


class Store(ClusterRows, EnvironmentRows, PreviewRows, InterceptRows, TokenRows):
    """Everything that survives a restart. Every method is one transaction."""

    @classmethod
    async def open(cls, url: str) -> Store:
        """A store on a database with the newest schema.

        Raises:
            ConfigError: the URL, the file or the database's version is not usable.
        """
        return cls(await Database.open(url))

    async def aclose(self) -> None:
        """No connection to the database is open any more. Idempotent."""
        await self._database.aclose()

    async def revision(self) -> int:
        """The number of the last change."""
        return await self._last_revision()
