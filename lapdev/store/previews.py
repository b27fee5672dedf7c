"""Preview URLs: which label leads to which service port of which environment."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import Conflict
from lapdev.model import EnvironmentId, PreviewUrl
from lapdev.store import tables
from lapdev.store.database import next_revision
from lapdev.store.names import SUFFIX_LENGTH, check_name, preview_label, random_text
from lapdev.store.rows import Rows, find_environment, preview_of

_TABLE = tables.previews


class PreviewRows(Rows):
    """The repository's piece for preview URLs."""

    async def create_preview(self, environment: str, service: str, port: int) -> PreviewUrl:
        """The service port has a preview URL. The caller knows that the service exists.

        Raises:
            NotFound: no such environment.
            Conflict: the service port has one already; names its label.
        """
        check_name("service name", service)
        async with self._database.write() as connection:
            owner = await find_environment(connection, environment)
            same = sa.and_(
                _TABLE.c.environment_id == owner.id,
                _TABLE.c.service == service,
                _TABLE.c.port == port,
            )
            taken = (
                await connection.execute(sa.select(_TABLE.c.label).where(same))
            ).scalar_one_or_none()
            if taken is not None:
                raise Conflict(
                    f"port {port} of {service} in {owner.name} already has the preview {taken}",
                    hint=f"`lapdev preview list {owner.name}` shows its URL",
                )
            await next_revision(connection)
            return await insert_preview(connection, owner.id, service, port)

    async def previews(self, environment: str | None = None) -> list[PreviewUrl]:
        """All preview URLs, or one environment's, by service and port.

        Raises:
            NotFound: no such environment.
        """
        statement = sa.select(_TABLE).order_by(_TABLE.c.service, _TABLE.c.port, _TABLE.c.label)
        async with self._database.read() as connection:
            if environment is not None:
                owner = await find_environment(connection, environment)
                statement = statement.where(_TABLE.c.environment_id == owner.id)
            rows = (await connection.execute(statement)).all()
        return [preview_of(row) for row in rows]

    async def preview_by_label(self, label: str) -> PreviewUrl | None:
        """The preview URL whose host begins with this label."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(sa.select(_TABLE).where(_TABLE.c.label == label))
            ).one_or_none()
        return None if row is None else preview_of(row)


async def insert_preview(
    connection: AsyncConnection, environment: EnvironmentId, service: str, port: int
) -> PreviewUrl:
    """Adds a preview URL with a fresh label, inside the caller's transaction."""
    label = preview_label(port, service, random_text(SUFFIX_LENGTH))
    await connection.execute(
        sa.insert(_TABLE).values(
            label=label,
            environment_id=environment,
            service=service,
            port=port,
            created_at=tables.utc_now(),
        )
    )
    return PreviewUrl(label, environment, service, port)


async def copy_previews(
    connection: AsyncConnection, source: EnvironmentId, destination: EnvironmentId
) -> None:
    """Gives `destination` a preview URL for each one of `source`."""
    rows = (
        await connection.execute(sa.select(_TABLE).where(_TABLE.c.environment_id == source))
    ).all()
    for row in rows:
        await insert_preview(connection, destination, row.service, row.port)
