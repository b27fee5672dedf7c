"""Runs the Alembic migrations that are installed with the package. Blocking: call it in a thread.

Several processes may open one database at the same time: the whole upgrade is one transaction
under the write lock, so that the second one finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from lapdev.errors import ConfigError

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(url: URL, set_up_connection: Callable[..., None]) -> None:
    """The database has the newest schema.

    Raises:
        ConfigError: the database was written by a newer lapdev.
    """
    engine = sa.create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", set_up_connection)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            command.upgrade(_config(connection), "head")
            connection.commit()
    except CommandError as exc:
        raise ConfigError(
            "the database was written by a newer version of lapdev",
            hint="run that version, or start with another database",
        ) from exc
    finally:
        engine.dispose()


def _config(connection: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
