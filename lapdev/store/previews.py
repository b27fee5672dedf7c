"""Preview URLs: which label, or TCP port, leads to which service port of which environment.

Some are asked for by manifests and follow them, others by hand and stay. A label never changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import ConfigError, NotFound
from lapdev.model import EnvironmentId, EnvironmentKind, PathRoute, PreviewUrl
from lapdev.store import tables
from lapdev.store.database import next_revision
from lapdev.store.names import SUFFIX_LENGTH, check_name, named_label, preview_label, random_text
from lapdev.store.rows import (
    ChooseTcpPort,
    Row,
    Rows,
    find_environment,
    preview_of,
    refuse_deleting,
    taken_tcp_ports,
)

_TABLE = tables.previews

ServicePorts = Collection[tuple[str, int]]
"""(service, port) of everything an environment offers."""


@dataclass(frozen=True, slots=True)
class PreviewWish:
    """A preview somebody asks for."""

    service: str
    port: int
    name: str = ""
    """What its label begins with in place of port and service."""
    routes: tuple[PathRoute, ...] = ()
    tcp: bool = False
    answer_timeout: int | None = None
    """As the preview has it; None says nothing of it."""

    @property
    def key(self) -> tuple[str, ...]:
        """What it has in common with the preview that fulfils it: of one key there is one."""
        return _key("tcp" if self.tcp else "http", self.name, self.service, self.port)


class PreviewRows(Rows):
    """The repository's piece for preview URLs."""

    async def create_preview(self, environment: str, wish: PreviewWish) -> tuple[PreviewUrl, bool]:
        """The preview that fulfils the wish, and whether it is new. It stays until it is removed.

        The caller knows that the service exists.

        Raises:
            NotFound: no such environment.
            ConfigError: a raw TCP preview of a branch, or no port for it.
            Conflict: the environment is being deleted.
        """
        check_name("service name", wish.service)
        async with self._database.write() as connection:
            owner = await find_environment(connection, environment)
            refuse_deleting(owner)
            for row in await _rows(connection, owner.id):
                if _key_of(row) == wish.key:
                    now: dict[str, object] = {"by_hand": True}
                    if wish.answer_timeout is not None:
                        now["answer_timeout"] = wish.answer_timeout
                    await _update(connection, row.label, **now)
                    return preview_of(await _row(connection, row.label)), False
            if wish.tcp and owner.kind is EnvironmentKind.BRANCH:
                raise ConfigError(
                    "a TCP connection cannot say which branch it means: it would lead to the "
                    "base's version",
                    hint="make the preview in the base environment",
                )
            await next_revision(connection)
            made = await _insert(connection, owner.id, wish, self._choose_tcp_port, by_hand=True)
            return made, True

    async def remove_preview(self, label: str) -> PreviewUrl:
        """The preview, which no longer exists.

        Raises:
            NotFound: there is none with this label.
        """
        same = _TABLE.c.label == label
        async with self._database.write() as connection:
            row = (await connection.execute(sa.select(_TABLE).where(same))).one_or_none()
            if row is None:
                raise NotFound(
                    f"there is no preview {label!r:.80}",
                    hint="`lapdev preview list` shows them all",
                )
            await next_revision(connection)
            await connection.execute(sa.delete(_TABLE).where(same))
        return preview_of(row)

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


# Inside the caller's transaction


async def follow_previews(
    connection: AsyncConnection,
    environment: EnvironmentId,
    wishes: Iterable[PreviewWish],
    offered: ServicePorts,
    choose_tcp_port: ChooseTcpPort,
) -> bool:
    """The environment has a preview for each wish, and those made by hand whose service port it
    still offers. Those that were there keep label and TCP port. True when anything changed.
    """
    wanted = {wish.key: wish for wish in wishes}
    changed = False
    for row in await _rows(connection, environment):
        wish = wanted.pop(_key_of(row), None)
        if wish is None:
            if row.by_hand and (row.service, row.port) in offered:
                continue
            await connection.execute(sa.delete(_TABLE).where(_TABLE.c.label == row.label))
            changed = True
            continue
        now = {"service": wish.service, "port": wish.port, "routes": _plain(wish.routes)}
        if wish.answer_timeout is not None or not row.by_hand:
            now["answer_timeout"] = wish.answer_timeout
        if any(getattr(row, name) != value for name, value in now.items()):
            await _update(connection, row.label, **now)
            changed = True
    for wish in wanted.values():
        await _insert(connection, environment, wish, choose_tcp_port)
    return changed or bool(wanted)


async def copy_previews(
    connection: AsyncConnection, source: EnvironmentId, destination: EnvironmentId
) -> None:
    """Gives `destination`, a branch, a preview URL for each one of `source`.

    Raw TCP previews are left out: a TCP connection cannot say which branch it means.
    """
    for row in await _rows(connection, source):
        if row.kind == "http":
            routes = tuple(PathRoute(*route) for route in row.routes)
            wish = PreviewWish(
                row.service, row.port, row.name, routes, answer_timeout=row.answer_timeout
            )
            await _insert(connection, destination, wish, _never, by_hand=row.by_hand)


def _never(taken: Collection[int]) -> int:
    raise AssertionError("a branch has no raw TCP preview")


async def _insert(
    connection: AsyncConnection,
    environment: EnvironmentId,
    wish: PreviewWish,
    choose_tcp_port: ChooseTcpPort,
    *,
    by_hand: bool = False,
) -> PreviewUrl:
    suffix = random_text(SUFFIX_LENGTH)
    if wish.name:
        label = named_label(check_name("preview name", wish.name), suffix)
    else:
        label = preview_label(wish.port, wish.service, suffix)
    tcp_port = None
    if wish.tcp:
        tcp_port = choose_tcp_port(await taken_tcp_ports(connection))
    await connection.execute(
        sa.insert(_TABLE).values(
            label=label,
            environment_id=environment,
            kind="tcp" if wish.tcp else "http",
            name=wish.name,
            service=wish.service,
            port=wish.port,
            routes=_plain(wish.routes),
            tcp_port=tcp_port,
            answer_timeout=wish.answer_timeout,
            by_hand=by_hand,
            created_at=tables.utc_now(),
        )
    )
    return preview_of(await _row(connection, label))


async def _update(connection: AsyncConnection, label: str, **values: object) -> None:
    await connection.execute(sa.update(_TABLE).where(_TABLE.c.label == label).values(**values))


async def _row(connection: AsyncConnection, label: str) -> Row:
    return (await connection.execute(sa.select(_TABLE).where(_TABLE.c.label == label))).one()


async def _rows(connection: AsyncConnection, environment: EnvironmentId) -> list[Row]:
    statement = sa.select(_TABLE).where(_TABLE.c.environment_id == environment)
    return list((await connection.execute(statement.order_by(_TABLE.c.label))).all())


def _key_of(row: Row) -> tuple[str, ...]:
    return _key(row.kind, row.name, row.service, row.port)


def _key(kind: str, name: str, service: str, port: int) -> tuple[str, ...]:
    """A named one stays itself when its paths lead to other services."""
    return (kind, name) if name else (kind, "", service, str(port))


def _plain(routes: Iterable[PathRoute]) -> list[list[object]]:
    return [[route.path, route.service, route.port, route.exact] for route in routes]
