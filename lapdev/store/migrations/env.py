"""Alembic's entry: runs the migrations on the connection, and in the transaction, of `migrate`."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite cannot alter most of a table: Alembic copies it instead.
    render_as_batch=True,
)
context.run_migrations()
