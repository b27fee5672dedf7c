"""What devboxes expose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """There is none so far."""
    op.create_table(
        "exposures",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("port", sa.Integer),
        sa.Column("announced_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exposures"),
        sa.UniqueConstraint("port", name="uq_exposures_port"),
    )
