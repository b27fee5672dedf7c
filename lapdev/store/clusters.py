"""Clusters: who may run environments."""

from __future__ import annotations

import sqlalchemy as sa

from lapdev.errors import NotFound
from lapdev.model import Cluster, ClusterId, ClusterStatus
from lapdev.store import tables
from lapdev.store.database import next_revision
from lapdev.store.names import check_name, new_id
from lapdev.store.rows import Row, Rows

_TABLE = tables.clusters


class ClusterRows(Rows):
    """The repository's piece for clusters."""

    async def ensure_cluster(self, name: str, token_sha256: str) -> Cluster:
        """A cluster of this name exists, and exactly this token is its own.

        Raises:
            ConfigError: the name is not a DNS label.
            Conflict: the token is another cluster's.
        """
        check_name("cluster name", name)
        async with self._database.write() as connection:
            row = (
                await connection.execute(sa.select(_TABLE).where(_TABLE.c.name == name))
            ).one_or_none()
            if row is not None and row.token_sha256 == token_sha256:
                return _cluster_of(row)
            await next_revision(connection)
            if row is not None:
                same = _TABLE.c.id == row.id
                await connection.execute(
                    sa.update(_TABLE).where(same).values(token_sha256=token_sha256)
                )
                return _cluster_of(row)
            cluster = Cluster(ClusterId(new_id()), name)
            await connection.execute(
                sa.insert(_TABLE).values(
                    id=cluster.id,
                    name=name,
                    token_sha256=token_sha256,
                    created_at=tables.utc_now(),
                )
            )
            return cluster

    async def cluster_by_token(self, sha256: str) -> Cluster | None:
        """The cluster whose token hashes to this."""
        async with self._database.read() as connection:
            row = (
                await connection.execute(sa.select(_TABLE).where(_TABLE.c.token_sha256 == sha256))
            ).one_or_none()
        return None if row is None else _cluster_of(row)

    async def clusters(self) -> list[Cluster]:
        """All clusters, by name."""
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(_TABLE).order_by(_TABLE.c.name))).all()
        return [_cluster_of(row) for row in rows]

    async def cluster(self, ref: str) -> Cluster:
        """The cluster with this id or name.

        Raises:
            NotFound: there is none.
        """
        matches = sa.or_(_TABLE.c.id == ref, _TABLE.c.name == ref)
        by_id_first = sa.case((_TABLE.c.id == ref, 0), else_=1)
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    sa.select(_TABLE).where(matches).order_by(by_id_first).limit(1)
                )
            ).one_or_none()
        if row is None:
            raise NotFound(
                f"there is no cluster {ref!r:.80}", hint="`lapdev cluster list` shows them all"
            )
        return _cluster_of(row)

    async def note_cluster_connected(self, cluster: ClusterId) -> None:
        """From now on the cluster is `not_ready`, no longer `provisioning`, while it is away."""
        first = sa.and_(_TABLE.c.id == cluster, _TABLE.c.connected_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(_TABLE).where(first).values(connected_at=tables.utc_now())
            )


def _cluster_of(row: Row) -> Cluster:
    seen = row.connected_at is not None
    status = ClusterStatus.NOT_READY if seen else ClusterStatus.PROVISIONING
    return Cluster(ClusterId(row.id), row.name, status)
