"""Environments: personal, shared, and the branches of shared ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from lapdev.errors import ConfigError, Conflict, NotFound
from lapdev.model import ClusterId, Environment, EnvironmentId, EnvironmentKind, EnvironmentStatus
from lapdev.store import tables
from lapdev.store.database import next_revision
from lapdev.store.names import check_name, new_id, new_namespace
from lapdev.store.previews import PreviewWish, copy_previews, follow_previews
from lapdev.store.rows import Rows, environment_of, find_environment, refuse_deleting, stamp

_TABLE = tables.environments

Manifest = dict[str, Any]
WorkloadChange = Callable[[Manifest | None, Sequence[Manifest]], Manifest | None]
"""(the branch's own version, the base's objects) → the branch's next version; None: the base's."""


@dataclass(frozen=True, slots=True)
class NewEnvironment:
    """What a personal or shared environment is made of."""

    name: str
    kind: EnvironmentKind
    cluster: ClusterId
    manifests: tuple[Manifest, ...] = ()
    previews: tuple[PreviewWish, ...] = ()
    """What its manifests ask for."""
    offered: frozenset[tuple[str, int]] = frozenset()
    """(service, port) of everything that previews made by hand may lead to."""


@dataclass(frozen=True, slots=True)
class PutResult:
    """What `put_environment` found, and what is there now."""

    before: Environment | None
    """None: it is new."""
    environment: Environment
    touched: tuple[EnvironmentId, ...] = ()
    """Environments whose objects or previews changed: it, and branches of it."""


class EnvironmentRows(Rows):
    """The repository's piece for environments."""

    async def create_environment(self, new: NewEnvironment) -> Environment:
        """A personal or shared environment in a namespace of its own, with its preview URLs.

        Raises:
            ConfigError: the name is not a DNS label, or a branch was asked for.
            NotFound: no such cluster.
            Conflict: the name is taken.
        """
        check_name("environment name", new.name)
        if new.kind is EnvironmentKind.BRANCH:
            raise ConfigError("a branch needs a base", hint="use `lapdev env branch`")
        async with self._database.write() as connection:
            await _refuse_unknown_cluster(connection, new.cluster)
            await _refuse_taken(connection, new.name)
            return await self._create(connection, new)

    async def put_environment(self, new: NewEnvironment, *, any_kind: bool = False) -> PutResult:
        """A personal or shared environment that runs exactly these objects: made, or changed.

        Its previews, and those of its branches, follow. With the objects it has already it keeps
        its generation.

        Args:
            any_kind: one that is there keeps its kind, whatever `new` says.

        Raises:
            ConfigError: the name is not a DNS label.
            NotFound: no such cluster.
            Conflict: the name is a branch's, or an environment's of another kind or cluster, or it
                is being deleted.
        """
        check_name("environment name", new.name)
        async with self._database.write() as connection:
            same = sa.select(_TABLE).where(_TABLE.c.name == new.name)
            row = (await connection.execute(same)).one_or_none()
            if row is None:
                await _refuse_unknown_cluster(connection, new.cluster)
                made = await self._create(connection, new)
                return PutResult(None, made, (made.id,))
            before = environment_of(row)
            _refuse_other(before, new, any_kind=any_kind)
            touched = await self._follow(connection, before, new)
            after = before
            if not _same_objects(before.manifests, new.manifests):
                values = {"manifests": list(new.manifests)}
                await connection.execute(
                    sa.update(_TABLE).where(_TABLE.c.id == before.id).values(**values)
                )
                await stamp(connection, before)
                touched.add(before.id)
                after = await find_environment(connection, before.id)
            return PutResult(before, after, tuple(sorted(touched)))

    async def _create(self, connection: AsyncConnection, new: NewEnvironment) -> Environment:
        environment = Environment(
            id=EnvironmentId(new_id()),
            name=new.name,
            kind=new.kind,
            cluster=new.cluster,
            namespace=new_namespace(new.kind),
            base=None,
            generation=await next_revision(connection),
            manifests=new.manifests,
        )
        await _insert(connection, environment)
        await self._follow(connection, environment, new)
        return environment

    async def _follow(
        self, connection: AsyncConnection, owner: Environment, new: NewEnvironment
    ) -> set[EnvironmentId]:
        """Previews of the environment and its branches are those wished for; whose changed."""
        touched = set()
        for environment in [owner, *await _branches(connection, owner.id)]:
            wishes = [w for w in new.previews if environment.id == owner.id or not w.tcp]
            if await follow_previews(
                connection, environment.id, wishes, new.offered, self._choose_tcp_port
            ):
                touched.add(environment.id)
        return touched

    async def create_branch(self, name: str, base: str) -> Environment:
        """A branch of a shared environment, without changes yet, in the base's namespace, with
        one preview URL for each of the base's.

        Raises:
            ConfigError: the name is not a DNS label, or the base cannot have branches.
            NotFound: no such base.
            Conflict: the name is taken, or the base is being deleted.
        """
        check_name("environment name", name)
        async with self._database.write() as connection:
            parent = await find_environment(connection, base)
            if parent.kind is not EnvironmentKind.SHARED:
                raise ConfigError(
                    f"{parent.name} is a {parent.kind} environment and cannot have branches",
                    hint="branch a shared environment",
                )
            refuse_deleting(parent)
            await _refuse_taken(connection, name)
            branch = Environment(
                id=EnvironmentId(new_id()),
                name=name,
                kind=EnvironmentKind.BRANCH,
                cluster=parent.cluster,
                namespace=parent.namespace,
                base=parent.id,
                generation=0,
            )
            await _insert(connection, branch)
            await stamp(connection, branch)
            await copy_previews(connection, parent.id, branch.id)
            return await find_environment(connection, branch.id)

    async def environment(self, ref: str) -> Environment:
        """The environment with this id or name.

        Raises:
            NotFound: there is none.
        """
        async with self._database.read() as connection:
            return await find_environment(connection, ref)

    async def environments(self, cluster: ClusterId | None = None) -> list[Environment]:
        """All environments, or one cluster's, by name; those being deleted, too."""
        statement = sa.select(_TABLE).order_by(_TABLE.c.name)
        if cluster is not None:
            statement = statement.where(_TABLE.c.cluster_id == cluster)
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [environment_of(row) for row in rows]

    async def branches(self, base: EnvironmentId) -> list[Environment]:
        """The branches of an environment, by name."""
        async with self._database.read() as connection:
            return await _branches(connection, base)

    async def set_workloads(self, branch: str, manifests: Sequence[Manifest]) -> Environment:
        """The branch changes exactly these workloads; it and its base have a new generation.

        Raises:
            NotFound: no such environment.
            ConfigError: it is not a branch.
            Conflict: it is being deleted.
        """
        async with self._database.write() as connection:
            environment = await _find_branch(connection, branch)
            return await _replace_manifests(connection, environment, manifests)

    async def change_workload(
        self, branch: str, workload: str, change: WorkloadChange
    ) -> Environment:
        """The branch's version of one workload is what `change` made of it.

        `change` runs inside the transaction, so that two changes at the same time both count.
        An unchanged workload keeps the generation. Raises what `change` raises, and as
        `set_workloads`.
        """
        async with self._database.write() as connection:
            environment = await _find_branch(connection, branch)
            assert environment.base is not None, "a branch has a base"
            base = await find_environment(connection, environment.base)
            others = [m for m in environment.manifests if manifest_name(m) != workload]
            own = next((m for m in environment.manifests if manifest_name(m) == workload), None)
            changed = change(own, base.manifests)
            if changed == own:
                return environment
            manifests = others if changed is None else [*others, changed]
            return await _replace_manifests(connection, environment, manifests)

    async def mark_deleting(self, ref: str) -> Environment:
        """The environment is being deleted, and takes no further change. Idempotent.

        Raises:
            NotFound: no such environment.
            Conflict: it has branches; names them.
        """
        async with self._database.write() as connection:
            environment = await find_environment(connection, ref)
            if environment.status is EnvironmentStatus.DELETING:
                return environment
            branches = await _branches(connection, environment.id)
            if branches:
                names = ", ".join(branch.name for branch in branches)
                raise Conflict(
                    f"{environment.name} has branches: {names}", hint="delete its branches first"
                )
            await connection.execute(
                sa.update(_TABLE)
                .where(_TABLE.c.id == environment.id)
                .values(deleting_at=tables.utc_now())
            )
            await stamp(connection, environment)
            return await find_environment(connection, environment.id)

    async def remove_environment(self, id: EnvironmentId) -> None:
        """Nothing of the environment is stored any more, nor its previews and intercepts.

        Idempotent: an environment that is gone already is fine.
        """
        async with self._database.write() as connection:
            try:
                environment = await find_environment(connection, id)
            except NotFound:
                return
            await stamp(connection, environment)
            await connection.execute(sa.delete(_TABLE).where(_TABLE.c.id == environment.id))


def manifest_name(manifest: Manifest) -> str:
    """The name of a Kubernetes object that was checked when it came in."""
    return str(manifest["metadata"]["name"])


def _same_objects(before: Sequence[Manifest], after: Sequence[Manifest]) -> bool:
    """Whatever their order: each has one place, its kind and name."""
    return len(before) == len(after) and _by_place(before) == _by_place(after)


def _by_place(manifests: Sequence[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(str(item.get("kind")), manifest_name(item)): item for item in manifests}


def _refuse_other(known: Environment, new: NewEnvironment, *, any_kind: bool) -> None:
    if known.kind is EnvironmentKind.BRANCH:
        raise Conflict(
            f"{known.name} is a branch, which has its base's objects",
            hint="choose another name, or change its workloads with `lapdev env override`",
        )
    remedy = f"choose another name, or delete it first: `lapdev env delete {known.name}`"
    if known.kind is not new.kind and not any_kind:
        raise Conflict(
            f"{known.name} is a {known.kind} environment, not a {new.kind} one", hint=remedy
        )
    if known.cluster != new.cluster:
        raise Conflict(f"{known.name} is in another cluster", hint=remedy)
    refuse_deleting(known)


async def _insert(connection: AsyncConnection, environment: Environment) -> None:
    await connection.execute(
        sa.insert(_TABLE).values(
            id=environment.id,
            name=environment.name,
            kind=environment.kind.value,
            cluster_id=environment.cluster,
            namespace=environment.namespace,
            base_id=environment.base,
            generation=environment.generation,
            manifests=list(environment.manifests),
            created_at=tables.utc_now(),
        )
    )


async def _refuse_unknown_cluster(connection: AsyncConnection, cluster: ClusterId) -> None:
    known = sa.select(tables.clusters.c.id).where(tables.clusters.c.id == cluster)
    if (await connection.execute(known)).one_or_none() is None:
        raise NotFound(f"there is no cluster {cluster!r:.80}")


async def _refuse_taken(connection: AsyncConnection, name: str) -> None:
    same = sa.select(_TABLE.c.id).where(_TABLE.c.name == name)
    if (await connection.execute(same)).one_or_none() is not None:
        raise Conflict(f"an environment named {name} already exists", hint="choose another name")


async def _branches(connection: AsyncConnection, base: EnvironmentId) -> list[Environment]:
    statement = sa.select(_TABLE).where(_TABLE.c.base_id == base).order_by(_TABLE.c.name)
    return [environment_of(row) for row in (await connection.execute(statement)).all()]


async def _find_branch(connection: AsyncConnection, ref: str) -> Environment:
    environment = await find_environment(connection, ref)
    if environment.kind is not EnvironmentKind.BRANCH:
        raise ConfigError(
            f"{environment.name} is a {environment.kind} environment, not a branch",
            hint=f"make one with `lapdev env branch {environment.name} NAME`",
        )
    refuse_deleting(environment)
    return environment


async def _replace_manifests(
    connection: AsyncConnection, environment: Environment, manifests: Sequence[Manifest]
) -> Environment:
    await connection.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.id == environment.id)
        .values(manifests=sorted(manifests, key=manifest_name))
    )
    await stamp(connection, environment)
    return await find_environment(connection, environment.id)
