"""The engine's settings, its transactions, and its errors."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from lapdev.errors import ConfigError, Conflict, StoreError
from lapdev.store import tables
from lapdev.store.database import Database, next_revision, parse_url


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="database setting"):
        parse_url(url)


def test_an_unknown_kind_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url("mysql://me:hunter2@db/lapdev")
    assert "mysql" in caught.value.detail
    assert "hunter2" not in caught.value.detail + caught.value.hint


def test_a_plain_sqlite_url_gets_the_asynchronous_driver() -> None:
    assert parse_url("sqlite:////var/lib/x.db").drivername == "sqlite+aiosqlite"


async def test_a_missing_directory_is_named_with_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/lapdev\.db: No such file or directory"):
        await Database.open(f"sqlite:///{tmp_path}/nowhere/lapdev.db")


async def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "lapdev.db"
    path.write_bytes(b"x" * 8192)
    with pytest.raises(StoreError, match="not a database"):
        await Database.open(f"sqlite:///{path}")


@pytest.fixture
async def database(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = await Database.open(f"sqlite:///{tmp_path}/lapdev.db")
    yield opened
    await opened.aclose()


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("lapdev.db*")}


async def test_only_the_owner_can_read_the_files(database: Database, tmp_path: Path) -> None:
    async with database.write() as connection:
        await next_revision(connection)
        modes = modes_in(tmp_path)
    assert modes == {"lapdev.db": 0o600, "lapdev.db-wal": 0o600, "lapdev.db-shm": 0o600}


async def test_connections_use_wal_keep_foreign_keys_and_wait(database: Database) -> None:
    async with database.read() as connection:
        values = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert values == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "synchronous": 2,
    }


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.write() as connection:
            await next_revision(connection)
            raise ZeroDivisionError
    async with database.write() as connection:
        assert await next_revision(connection) == 1


async def test_concurrent_writes_each_get_their_own_revision(database: Database) -> None:
    async def change() -> int:
        async with database.write() as connection:
            before = (await connection.execute(sa.select(tables.revision.c.value))).scalar_one()
            after = await next_revision(connection)
            assert after == before + 1
            return after

    async with asyncio.TaskGroup() as group:
        changes = [group.create_task(change()) for _ in range(20)]
    assert sorted(task.result() for task in changes) == list(range(1, 21))


async def test_two_processes_writes_wait_for_each_other(database: Database, tmp_path: Path) -> None:
    other = await Database.open(f"sqlite:///{tmp_path}/lapdev.db")
    try:

        async def change(one: Database) -> int:
            async with one.write() as connection:
                return await next_revision(connection)

        async with asyncio.TaskGroup() as group:
            changes = [group.create_task(change(d)) for d in [database, other] * 5]
        assert sorted(task.result() for task in changes) == list(range(1, 11))
    finally:
        await other.aclose()


async def test_a_reader_is_not_held_up_by_a_writer(database: Database) -> None:
    async with database.write() as writer:
        await next_revision(writer)
        async with database.read() as reader:
            assert (await reader.execute(sa.select(tables.revision.c.value))).scalar_one() == 0


async def test_a_cancelled_write_leaves_nothing_and_frees_the_lock(database: Database) -> None:
    inside = asyncio.Event()

    async def change() -> None:
        async with database.write() as connection:
            await next_revision(connection)
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(change())
        await inside.wait()
        task.cancel()
    async with database.write() as connection:
        assert await next_revision(connection) == 1


async def test_a_broken_constraint_is_a_conflict(database: Database) -> None:
    row = {"sha256": "a", "name": "x", "created_at": tables.utc_now()}
    with pytest.raises(Conflict):
        async with database.write() as connection:
            await connection.execute(sa.insert(tables.api_tokens), [row, row])


async def test_a_failing_statement_is_a_store_error_without_its_parameters(
    database: Database,
) -> None:
    with pytest.raises(StoreError) as caught:
        async with database.read() as connection:
            await connection.execute(sa.text("SELECT 1 FROM absent WHERE x = :x"), {"x": "secret"})
    assert "no such table" in caught.value.detail
    assert "secret" not in caught.value.detail
