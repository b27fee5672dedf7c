"""The first tables: revision, clusters, environments, previews, intercepts, API tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables, and the one row that counts changes."""
    counter = op.create_table(
        "revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.bulk_insert(counter, [{"id": 1, "value": 0}])
    _create_clusters()
    _create_environments()
    _create_previews()
    _create_intercepts()
    op.create_table(
        "api_tokens",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_api_tokens"),
    )


def _create_clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("connected_at", sa.DateTime),
        sa.PrimaryKeyConstraint("id", name="pk_clusters"),
        sa.UniqueConstraint("name", name="uq_clusters_name"),
        sa.UniqueConstraint("token_sha256", name="uq_clusters_token_sha256"),
    )


def _create_environments() -> None:
    op.create_table(
        "environments",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("cluster_id", sa.String(16), nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("base_id", sa.String(16)),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("manifests", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("deleting_at", sa.DateTime),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("name", name="uq_environments_name"),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name="fk_environments_cluster_id"),
        sa.ForeignKeyConstraint(["base_id"], ["environments.id"], name="fk_environments_base_id"),
    )
    for column in ("cluster_id", "namespace", "base_id"):
        op.create_index(f"ix_environments_{column}", "environments", [column])


def _create_previews() -> None:
    op.create_table(
        "previews",
        sa.Column("label", sa.String(63), nullable=False),
        sa.Column("environment_id", sa.String(16), nullable=False),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("label", name="pk_previews"),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name="fk_previews_environment_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "environment_id", "service", "port", name="uq_previews_environment_id_service_port"
        ),
    )


def _create_intercepts() -> None:
    op.create_table(
        "intercepts",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("environment_id", sa.String(16), nullable=False),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("workload", sa.String(63), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("ports", sa.JSON, nullable=False),
        sa.Column("include_branches", sa.Boolean, nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_intercepts"),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name="fk_intercepts_environment_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("token_sha256", name="uq_intercepts_token_sha256"),
        sa.UniqueConstraint(
            "environment_id", "workload", name="uq_intercepts_environment_id_workload"
        ),
    )
    op.create_index("ix_intercepts_device", "intercepts", ["device"])
