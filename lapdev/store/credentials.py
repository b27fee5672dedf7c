"""API tokens: what a person's client proves itself with. Only hashes are kept."""

from __future__ import annotations

import sqlalchemy as sa

from lapdev.store import tables
from lapdev.store.rows import Rows

_TABLE = tables.api_tokens


class TokenRows(Rows):
    """The repository's piece for API tokens."""

    async def ensure_token(self, sha256: str, name: str) -> None:
        """Under this name exactly the token that hashes to this is valid."""
        async with self._database.write() as connection:
            same_name = sa.select(_TABLE.c.sha256).where(_TABLE.c.name == name)
            if (await connection.execute(same_name)).scalars().all() == [sha256]:
                return
            await connection.execute(
                sa.delete(_TABLE).where(sa.or_(_TABLE.c.name == name, _TABLE.c.sha256 == sha256))
            )
            await connection.execute(
                sa.insert(_TABLE).values(sha256=sha256, name=name, created_at=tables.utc_now())
            )

    async def token_valid(self, sha256: str) -> bool:
        """Whether a token hashes to this. The lookup by hash leaks nothing of the token by time."""
        known = sa.select(_TABLE.c.sha256).where(_TABLE.c.sha256 == sha256)
        async with self._database.read() as connection:
            return (await connection.execute(known)).one_or_none() is not None
