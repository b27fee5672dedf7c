"""The migrations make what the tables say, from an installed package as well."""

from __future__ import annotations

import ast
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from lapdev.errors import ConfigError
from lapdev.model import ClusterId, EnvironmentId, EnvironmentKind
from lapdev.store import NewEnvironment, Store, migrate, tables

MIGRATIONS = Path(tables.__file__).parent / "migrations"


async def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    path = tmp_path / "lapdev.db"
    await (await Store.open(f"sqlite:///{path}")).aclose()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


async def test_opening_twice_keeps_everything(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lapdev.db"
    first = await Store.open(url)
    cluster = await first.ensure_cluster("local", "a" * 64)
    await first.aclose()
    second = await Store.open(url)
    assert await second.clusters() == [cluster]
    await second.aclose()


async def test_a_percent_sign_in_a_path_is_no_problem(tmp_path: Path) -> None:
    folder = tmp_path / "100% mine"
    folder.mkdir()
    await (await Store.open(f"sqlite:///{folder}/lapdev.db")).aclose()


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lapdev.db"
    await (await Store.open(f"sqlite:///{path}")).aclose()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        await Store.open(f"sqlite:///{path}")


def test_the_newest_migration_is_the_one_that_is_looked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_a_database_that_is_there_already_is_opened_without_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from lapdev.store import Store\n"
        "async def main():\n"
        f"    await (await Store.open('sqlite:///{tmp_path}/lapdev.db')).aclose()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


def _at(path: Path, version: str) -> None:
    """A database at an earlier version."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    engine.dispose()


async def test_previews_of_the_first_version_survive_the_upgrade_as_they_were(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lapdev.db"
    _at(path, "0001")
    connection = sqlite3.connect(path)
    connection.executescript("""
        INSERT INTO clusters VALUES ('c', 'local', 'sha', '2026-01-01', NULL);
        INSERT INTO environments VALUES
            ('e', 'shop', 'shared', 'c', 'ns', NULL, 3, '[]', '2026-01-01', NULL),
            ('b', 'fix', 'branch', 'c', 'ns', 'e', 3, '[]', '2026-01-01', NULL);
        INSERT INTO previews VALUES
            ('8080-web-x', 'e', 'web', 8080, '2026-01-01'),
            ('80-api-x', 'e', 'api', 80, '2026-01-01'),
            ('8080-web-y', 'b', 'web', 8080, '2026-01-01');
        INSERT INTO intercepts VALUES
            ('i', 'e', 'web', 'web', 'mine', '[[1, 2]]', 0, 'token', '2026-01-01');
    """)
    connection.close()
    store = await Store.open(f"sqlite:///{path}")
    try:
        found = await store.previews("shop")
        assert [(p.label, p.service, p.port) for p in found] == [
            ("80-api-x", "api", 80),
            ("8080-web-x", "web", 8080),
        ]
        assert {(p.routes, p.tcp_port, p.name) for p in found} == {((), None, "")}
        assert len(await store.intercepts()) == 1
        # Nobody knows whether a mark asked for them: they stay while their service does.
        offered = frozenset({("web", 8080)})
        new = NewEnvironment("shop", EnvironmentKind.SHARED, ClusterId("c"), (), (), offered)
        await store.put_environment(new)
        assert [p.label for p in await store.previews("shop")] == ["8080-web-x"]
        await store.remove_environment(EnvironmentId("b"))
        assert len(await store.previews()) == 1, "previews still go with their environment"
    finally:
        await store.aclose()


def test_migrations_do_not_lean_on_todays_tables() -> None:
    for path in MIGRATIONS.rglob("*.py"):
        imports = [
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            for name in [node.module or ""]
        ]
        assert not [name for name in imports if name.startswith("lapdev")], path
