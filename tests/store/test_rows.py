"""Rows become the model's values, whatever the driver hands out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lapdev.model import (
    DeviceId,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    Intercept,
    InterceptId,
    PathRoute,
    PortMap,
    PreviewUrl,
)
from lapdev.store.rows import environment_of, intercept_of, preview_of

NOON = datetime(2026, 1, 1, 12)


def row(**values: object) -> sa.Row[Any]:
    """A real row with these columns."""
    engine = sa.create_engine("sqlite://")
    columns = [sa.literal(value, _type(value)).label(name) for name, value in values.items()]
    with engine.connect() as connection:
        found = connection.execute(sa.select(*columns)).one()
    engine.dispose()
    return found


def _type(value: object) -> sa.types.TypeEngine[Any] | None:
    return sa.JSON() if isinstance(value, list) else None


def environment_row(**changes: object) -> sa.Row[Any]:
    values: dict[str, object] = {
        "id": "e",
        "name": "fix",
        "kind": "branch",
        "cluster_id": "c",
        "namespace": "ns",
        "base_id": "b",
        "generation": 7,
        "manifests": [{"kind": "Deployment"}],
        "deleting_at": None,
    }
    return row(**{**values, **changes})


def test_an_environment_is_pending_as_far_as_the_store_knows() -> None:
    found = environment_of(environment_row())
    assert (found.kind, found.base) == (EnvironmentKind.BRANCH, "b")
    assert found.manifests == ({"kind": "Deployment"},)
    assert found.status is EnvironmentStatus.PENDING
    assert environment_of(environment_row(base_id=None)).base is None


def test_an_environment_with_a_time_of_deletion_is_deleting() -> None:
    found = environment_of(environment_row(deleting_at=NOON))
    assert found.status is EnvironmentStatus.DELETING


def test_a_preview() -> None:
    common = {"label": "80-web-x", "environment_id": "e", "service": "web", "port": 80}
    found = preview_of(row(**common, routes=[], tcp_port=None, name="", answer_timeout=0))
    assert found == PreviewUrl("80-web-x", EnvironmentId("e"), "web", 80, answer_timeout=0)


def test_a_preview_by_path_or_by_port() -> None:
    common = {"label": "x", "environment_id": "e", "service": "web", "port": 80}
    routes = [["/api", "api", 8080, True], ["/", "web", 80, False]]
    found = preview_of(
        row(**common, routes=routes, tcp_port=20_000, name="pages", answer_timeout=None)
    )
    assert found.routes == (PathRoute("/api", "api", 8080, exact=True), PathRoute("/", "web", 80))
    assert (found.tcp_port, found.name) == (20_000, "pages")


def test_an_intercept() -> None:
    found = intercept_of(
        row(
            id="i",
            environment_id="e",
            service="web",
            workload="w",
            device="d",
            ports=[[80, 3000]],
            include_branches=True,
        )
    )
    assert found == Intercept(
        InterceptId("i"),
        EnvironmentId("e"),
        "web",
        "w",
        DeviceId("d"),
        (PortMap(80, 3000),),
        include_branches=True,
    )
