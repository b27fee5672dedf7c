"""Runs the Alembic migrations that are installed with the package. Blocking: call it in a thread.

Several processes may open one database at the same time: the whole upgrade is one transaction
under the write lock, so that the second one finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from lapdev.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"

HEAD = "0004"
"""The newest migration. A database that is there already needs no Alembic, which takes longer to
import than everything else a restarted cloud does before it serves."""


def upgrade(url: URL, set_up_connection: Callable[..., None]) -> None:
    """The database has the newest schema.

    Raises:
        ConfigError: the database was written by a newer lapdev.
    """
    engine = sa.create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", set_up_connection)
    try:
        with engine.connect() as connection:
            if _version(connection) == HEAD:
                return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _run_migrations(connection)
            connection.commit()
    finally:
        engine.dispose()


def _version(connection: sa.Connection) -> str | None:
    """The migration the database is at; None while it has none."""
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        return None
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    connection.rollback()
    return str(version)


def _run_migrations(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(_config(connection), "head")
    except CommandError as exc:
        raise ConfigError(
            "the database was written by a newer version of lapdev",
            hint="run that version, or start with another database",
        ) from exc


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
