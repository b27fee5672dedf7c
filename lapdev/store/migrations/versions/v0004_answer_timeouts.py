"""How long a preview waits for an answer to begin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Those that are there wait as long as the cloud's setting says."""
    op.add_column("previews", sa.Column("answer_timeout", sa.Integer))
