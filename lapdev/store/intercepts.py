"""Intercepts: whose laptop stands in for which workload. Survive sessions and restarts."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import Conflict, NotFound
from lapdev.model import DeviceId, Environment, Intercept, InterceptId
from lapdev.store import tables
from lapdev.store.rows import Rows, find_environment, intercept_of, refuse_deleting, stamp

_TABLE = tables.intercepts


class InterceptRows(Rows):
    """The repository's piece for intercepts."""

    async def create_intercept(self, intercept: Intercept, token_sha256: str) -> Intercept:
        """The intercept exists; its environment, and that one's base, have a new generation.

        Raises:
            NotFound: no such environment.
            Conflict: the workload is intercepted already, or the environment is being deleted.
        """
        async with self._database.write() as connection:
            owner = await find_environment(connection, intercept.environment)
            refuse_deleting(owner)
            await _refuse_second(connection, owner, intercept.workload)
            await stamp(connection, owner)
            await connection.execute(
                sa.insert(_TABLE).values(
                    id=intercept.id,
                    environment_id=owner.id,
                    service=intercept.service,
                    workload=intercept.workload,
                    device=intercept.device,
                    ports=[[port.service_port, port.local_port] for port in intercept.ports],
                    include_branches=intercept.include_branches,
                    token_sha256=token_sha256,
                    created_at=tables.utc_now(),
                )
            )
        return intercept

    async def intercepts(
        self, environment: str | None = None, device: DeviceId | None = None
    ) -> list[Intercept]:
        """All intercepts, or those of an environment, of a device, or of both; oldest first.

        Raises:
            NotFound: no such environment.
        """
        statement = sa.select(_TABLE).order_by(_TABLE.c.created_at, _TABLE.c.id)
        if device is not None:
            statement = statement.where(_TABLE.c.device == device)
        async with self._database.read() as connection:
            if environment is not None:
                owner = await find_environment(connection, environment)
                statement = statement.where(_TABLE.c.environment_id == owner.id)
            rows = (await connection.execute(statement)).all()
        return [intercept_of(row) for row in rows]

    async def intercept(self, id: InterceptId) -> Intercept:
        """The intercept with this id.

        Raises:
            NotFound: there is none.
        """
        async with self._database.read() as connection:
            return await _find(connection, id)

    async def intercept_by_token(self, sha256: str) -> Intercept | None:
        """The intercept whose token hashes to this."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(sa.select(_TABLE).where(_TABLE.c.token_sha256 == sha256))
            ).one_or_none()
        return None if row is None else intercept_of(row)

    async def remove_intercept(self, id: InterceptId) -> Intercept:
        """The intercept, which no longer exists. Its environment and base have a new generation.

        Raises:
            NotFound: there is none.
        """
        async with self._database.write() as connection:
            intercept = await _find(connection, id)
            await stamp(connection, await find_environment(connection, intercept.environment))
            await connection.execute(sa.delete(_TABLE).where(_TABLE.c.id == id))
        return intercept


async def _find(connection: AsyncConnection, id: InterceptId) -> Intercept:
    row = (await connection.execute(sa.select(_TABLE).where(_TABLE.c.id == id))).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no intercept {id!r:.80}",
            hint="`lapdev devbox intercept list` shows them all",
        )
    return intercept_of(row)


async def _refuse_second(connection: AsyncConnection, owner: Environment, workload: str) -> None:
    """One token is one intercept is one workload; two owners of its traffic make no sense."""
    same = sa.and_(_TABLE.c.environment_id == owner.id, _TABLE.c.workload == workload)
    taken = (await connection.execute(sa.select(_TABLE).where(same))).one_or_none()
    if taken is not None:
        raise Conflict(
            f"workload {workload} of {owner.name} is already intercepted by device {taken.device}",
            hint=f"remove it first: `lapdev devbox intercept rm {taken.id}`",
        )
