"""Exposures: which name, or port, a devbox's exposure has. So that both survive a restart.

A name follows from a key that only the devbox knows, so the same one comes back even after its row
is gone, and nobody else can ask for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import Conflict
from lapdev.model import Exposure, ExposureId, ExposureKind
from lapdev.store import tables
from lapdev.store.names import SUFFIX_LENGTH, check_name, derived_text, named_label
from lapdev.store.rows import ChooseTcpPort, Row, Rows, taken_tcp_ports

_TABLE = tables.exposures

KEPT = timedelta(days=7)
"""How long a name and a port wait for a devbox that went away without a word."""
MOST = 1_000


class ExposureRows(Rows):
    """The repository's piece for exposures."""

    async def keep_exposure(
        self,
        key: str,
        wanted: Exposure,
        choose_port: ChooseTcpPort,
    ) -> Exposure:
        """The exposure that belongs to `key`: as it was, or made.

        Args:
            wanted: its id is the name that the label begins with; a port of 0 is any.
            choose_port: asked for a raw one that has no port yet, or another than is wanted.

        Raises:
            ConfigError: the name is no DNS label, or ports are not served.
            Conflict: no port is free, or the name is another key's.
        """
        name = check_name("name", wanted.id)
        id = ExposureId(named_label(name, derived_text(key, SUFFIX_LENGTH)))
        now = tables.utc_now()
        async with self._database.write() as connection:
            row = (
                await connection.execute(sa.select(_TABLE).where(_TABLE.c.id == id))
            ).one_or_none()
            digest = hashlib.sha256(key.encode()).hexdigest()
            if row is not None and row.key_sha256 != digest:
                raise Conflict(f"the name {id} belongs to another device", hint="choose another")
            port = None
            if wanted.kind is not ExposureKind.HTTP:
                port = None if row is None else row.port
                if port is None or wanted.port not in (0, None, port):
                    port = choose_port(await taken_tcp_ports(connection))
            values = {"kind": wanted.kind.value, "port": port, "announced_at": now}
            if row is None:
                await _refuse_too_many(connection)
                statement: sa.Executable = sa.insert(_TABLE).values(
                    id=id, key_sha256=digest, **values
                )
            else:
                statement = sa.update(_TABLE).where(_TABLE.c.id == id).values(**values)
            await connection.execute(statement)
        return Exposure(id, wanted.kind, port)

    async def exposures(self) -> list[Exposure]:
        """All of them."""
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(_TABLE).order_by(_TABLE.c.id))).all()
        return [_exposure_of(row) for row in rows]

    async def forget_exposures(self, live: Collection[ExposureId]) -> list[ExposureId]:
        """Those that were not heard of for `KEPT` and are not `live` are gone: which they were."""
        old = _TABLE.c.announced_at < tables.utc_now() - KEPT
        statement = sa.delete(_TABLE).where(old, _TABLE.c.id.not_in(list(live)))
        async with self._database.write() as connection:
            rows = await connection.execute(statement.returning(_TABLE.c.id))
            return [ExposureId(id) for id in rows.scalars()]

    async def remove_exposure(self, id: ExposureId) -> None:
        """There is none of this id; its port is free."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(_TABLE).where(_TABLE.c.id == id))


async def _refuse_too_many(connection: AsyncConnection) -> None:
    count = (await connection.execute(sa.select(sa.func.count()).select_from(_TABLE))).scalar_one()
    if count >= MOST:
        raise Conflict(f"{count} exposures are announced already", hint="end some of them")


def _exposure_of(row: Row) -> Exposure:
    return Exposure(ExposureId(row.id), ExposureKind(row.kind), row.port)
