"""Previews by path and by TCP port, and which of them a person asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Every preview so far is a plain one. Who asked for it is not known: it stays."""
    with op.batch_alter_table("previews") as batch:
        batch.add_column(sa.Column("kind", sa.String(8), nullable=False, server_default="http"))
        batch.add_column(sa.Column("name", sa.String(63), nullable=False, server_default=""))
        batch.add_column(sa.Column("routes", sa.JSON, nullable=False, server_default="[]"))
        batch.add_column(sa.Column("tcp_port", sa.Integer))
        batch.add_column(sa.Column("by_hand", sa.Boolean, nullable=False, server_default=sa.true()))
        batch.drop_constraint("uq_previews_environment_id_service_port", type_="unique")
        batch.create_unique_constraint(
            "uq_previews_environment_id_kind_name_service_port",
            ["environment_id", "kind", "name", "service", "port"],
        )
        batch.create_unique_constraint("uq_previews_tcp_port", ["tcp_port"])
    with op.batch_alter_table("previews") as batch:
        for column in ("kind", "name", "routes", "by_hand"):
            batch.alter_column(column, server_default=None)
