"""The engine, its transactions, and the one place where database errors become ours.

Reads take a snapshot; writes take the write lock at once (`BEGIN IMMEDIATE`), so that what a
write has read is still true when it commits. No SQL of any subject lives here.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from lapdev.errors import ConfigError, Conflict, StoreError
from lapdev.store import migrate, tables

_BUSY_TIMEOUT_MS = 5_000
_WRITE = "lapdev_write"


def parse_url(url: str) -> URL:
    """The URL of a database we can speak to.

    Raises:
        ConfigError: no such kind of database. The text never shows the URL: it may hold a password.
    """
    hint = "use sqlite:////absolute/path/lapdev.db"
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigError("the database setting is not a URL", hint=hint) from exc
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError(f"the database kind {parsed.drivername!r} is not supported", hint=hint)
    if not parsed.database or parsed.database == ":memory:" or "mode=memory" in url:
        raise ConfigError("the database setting names no file", hint=hint)
    return parsed.set(drivername="sqlite+aiosqlite")


class Database:
    """One open database. Made by `Database.open`, closed by `aclose`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._write_lock = asyncio.Lock()  # waiting here is fair; SQLite's own waiting polls

    @classmethod
    async def open(cls, url: str) -> Database:
        """A database with the newest schema."""
        parsed = parse_url(url)
        with _translated():
            await asyncio.to_thread(_prepare, parsed)
        engine = create_async_engine(parsed, pool_size=4, max_overflow=0)
        event.listen(engine.sync_engine, "connect", _set_up_connection)
        event.listen(engine.sync_engine, "begin", _begin)
        return cls(engine)

    async def aclose(self) -> None:
        """No connection is open any more. Idempotent."""
        await self._engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one moment of the database."""
        with _translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when it raises."""
        with _translated():
            async with self._write_lock, self._engine.connect() as connection:
                await connection.execution_options(**{_WRITE: True})
                async with connection.begin():
                    yield connection


async def next_revision(connection: AsyncConnection) -> int:
    """The number of the change this transaction makes: one more than the last."""
    table = tables.revision
    statement = sa.update(table).values(value=table.c.value + 1).returning(table.c.value)
    return int((await connection.execute(statement)).scalar_one())


def _prepare(url: URL) -> None:
    path = Path(str(url.database))
    try:
        # Made here because manifests may hold passwords; SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise ConfigError(
            f"cannot write the database file {path}: {exc.strerror}",
            hint="check that the directory exists and belongs to the user lapdev runs as",
        ) from exc
    migrate.upgrade(url.set(drivername="sqlite"), _set_up_connection)


def _set_up_connection(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling begins lazily and never IMMEDIATE; `_begin` does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    # First, so that switching to WAL already waits for another process that has the file open.
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    # What was acknowledged survives a power cut.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise Conflict("the change contradicts another one made at the same time") from exc
    except DBAPIError as exc:
        raise StoreError(
            f"the database failed: {exc.orig}",
            hint="check the database file, its directory and the free disk space",
        ) from exc
    except SQLAlchemyError as exc:
        raise StoreError(f"the database failed: {type(exc).__name__}") from exc
