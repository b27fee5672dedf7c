"""What the pieces of the repository share: the database, and rows as model values."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import (
    ClusterId,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    Intercept,
    InterceptId,
    PathRoute,
    PortMap,
    PreviewUrl,
)
from lapdev.store import tables
from lapdev.store.database import Database, next_revision

Row = sa.Row[Any]


ChooseTcpPort = Callable[[Collection[int]], int]
"""(ports that are given away) → a free port for one more. Raises ConfigError or Conflict."""


def no_tcp_ports(taken: Collection[int]) -> int:
    """`ChooseTcpPort` where raw TCP previews are not served."""
    raise ConfigError(
        "raw TCP previews are not served here",
        hint="start the cloud with --tcp-previews HOST:FIRST-LAST, or ask for none",
    )


class Rows:
    """A piece of the repository."""

    def __init__(self, database: Database, choose_tcp_port: ChooseTcpPort = no_tcp_ports) -> None:
        self._database = database
        self._choose_tcp_port = choose_tcp_port

    async def _last_revision(self) -> int:
        async with self._database.read() as connection:
            return int((await connection.execute(sa.select(tables.revision.c.value))).scalar_one())


def environment_of(row: Row) -> Environment:
    """An environments row as the model has it. What runs is not known here."""
    deleting = row.deleting_at is not None
    return Environment(
        id=EnvironmentId(row.id),
        name=row.name,
        kind=EnvironmentKind(row.kind),
        cluster=ClusterId(row.cluster_id),
        namespace=row.namespace,
        base=None if row.base_id is None else EnvironmentId(row.base_id),
        generation=row.generation,
        manifests=tuple(row.manifests),
        status=EnvironmentStatus.DELETING if deleting else EnvironmentStatus.PENDING,
    )


def preview_of(row: Row) -> PreviewUrl:
    """A previews row as the model has it."""
    return PreviewUrl(
        label=row.label,
        environment=EnvironmentId(row.environment_id),
        service=row.service,
        port=row.port,
        routes=tuple(PathRoute(*route) for route in row.routes),
        tcp_port=row.tcp_port,
        name=row.name,
        answer_timeout=row.answer_timeout,
    )


def intercept_of(row: Row) -> Intercept:
    """An intercepts row as the model has it."""
    return Intercept(
        id=InterceptId(row.id),
        environment=EnvironmentId(row.environment_id),
        service=row.service,
        workload=row.workload,
        device=DeviceId(row.device),
        ports=tuple(PortMap(service, local) for service, local in row.ports),
        include_branches=row.include_branches,
    )


async def find_environment(connection: AsyncConnection, ref: str) -> Environment:
    """The environment with this id or, failing that, this name.

    Raises:
        NotFound: there is none.
    """
    table = tables.environments
    found = (
        await connection.execute(
            sa.select(table)
            .where(sa.or_(table.c.id == ref, table.c.name == ref))
            # A name may look like another environment's id: the id wins.
            .order_by(sa.case((table.c.id == ref, 0), else_=1))
            .limit(1)
        )
    ).one_or_none()
    if found is None:
        raise NotFound(
            f"there is no environment {ref!r:.80}", hint="`lapdev env list` shows them all"
        )
    return environment_of(found)


async def taken_tcp_ports(connection: AsyncConnection) -> set[int]:
    """The ports of all raw TCP previews and exposures."""
    columns = (tables.previews.c.tcp_port, tables.exposures.c.port)
    ports = sa.union(*(sa.select(column).where(column.is_not(None)) for column in columns))
    return set((await connection.execute(ports)).scalars())


def refuse_deleting(environment: Environment) -> None:
    """Raises Conflict when the environment is being deleted."""
    if environment.status is EnvironmentStatus.DELETING:
        raise Conflict(f"{environment.name} is being deleted", hint="use another environment")


async def stamp(connection: AsyncConnection, environment: Environment) -> int:
    """Gives the environment, and the base whose routes it takes part in, a new generation."""
    revision = await next_revision(connection)
    ids = [environment.id, environment.base] if environment.base else [environment.id]
    table = tables.environments
    await connection.execute(
        sa.update(table).where(table.c.id.in_(ids)).values(generation=revision)
    )
    return revision
