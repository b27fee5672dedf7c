"""The tables as SQLAlchemy Core sees them. What the database really has is made by `migrations`;
a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

revision = sa.Table(
    "revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""One row: the number of the last change. It only grows."""

clusters = sa.Table(
    "clusters",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("connected_at", sa.DateTime),  # first connection of its manager
)

environments = sa.Table(
    "environments",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("cluster_id", sa.ForeignKey("clusters.id"), nullable=False, index=True),
    sa.Column("namespace", sa.String(63), nullable=False, index=True),
    sa.Column("base_id", sa.ForeignKey("environments.id"), index=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("manifests", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("deleting_at", sa.DateTime),
)

previews = sa.Table(
    "previews",
    metadata,
    sa.Column("label", sa.String(63), primary_key=True),
    sa.Column(
        "environment_id", sa.ForeignKey("environments.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("kind", sa.String(8), nullable=False),  # http or tcp
    sa.Column("name", sa.String(63), nullable=False),  # of the Ingress that asked for it, or ""
    sa.Column("service", sa.String(63), nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("routes", sa.JSON, nullable=False),  # [path, service, port, exact] each
    sa.Column("tcp_port", sa.Integer, unique=True),
    sa.Column("answer_timeout", sa.Integer),  # seconds; 0: none, NULL: the cloud's setting
    # Asked for by a person: it stays when no manifest asks for it.
    sa.Column("by_hand", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("environment_id", "kind", "name", "service", "port"),
)

intercepts = sa.Table(
    "intercepts",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column(
        "environment_id", sa.ForeignKey("environments.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("service", sa.String(63), nullable=False),
    sa.Column("workload", sa.String(63), nullable=False),
    sa.Column("device", sa.String(64), nullable=False, index=True),
    sa.Column("ports", sa.JSON, nullable=False),
    sa.Column("include_branches", sa.Boolean, nullable=False),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("environment_id", "workload"),
)

exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("key_sha256", sa.String(64), nullable=False),
    sa.Column("port", sa.Integer, unique=True),
    sa.Column("announced_at", sa.DateTime, nullable=False),
)
"""What devboxes expose. A row goes when its devbox says so, or has not been heard of for long."""

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)


def utc_now() -> datetime:
    """The moment, in UTC and without a zone: SQLite and PostgreSQL then store the same value."""
    return datetime.now(UTC).replace(tzinfo=None)
