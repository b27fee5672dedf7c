"""Which service answers which path."""

from __future__ import annotations

import pytest

from lapdev.model import EnvironmentId, PathRoute, PreviewUrl
from lapdev.routing.paths import PathTable
from lapdev.wire.control import ServiceTarget


def table(*routes: PathRoute) -> PathTable:
    return PathTable.of(PreviewUrl("x", EnvironmentId("e"), "web", 80, routes), "ns")


def found(paths: PathTable, target: bytes) -> str:
    target_found = paths.find(target)
    return "" if target_found is None else target_found.service


SHOP = table(
    PathRoute("/healthz", "health", 80, exact=True),
    PathRoute("/api/v2", "new", 80),
    PathRoute("/api/", "api", 80),
    PathRoute("/", "web", 80),
)


@pytest.mark.parametrize(
    ("target", "service"),
    [
        (b"/", "web"),
        (b"*", "web"),
        (b"/?q=/api", "web"),
        (b"/healthz", "health"),
        (b"/healthz?deep=1", "health"),
        (b"/healthz/", "web"),
        (b"/healthz2", "web"),
        (b"/api", "api"),
        (b"/api?x", "api"),
        (b"/api/", "api"),
        (b"/api/cart", "api"),
        (b"/apis", "web"),
        (b"/api-v2", "web"),
        (b"/API/cart", "web"),
        (b"//api/cart", "web"),
        (b"/%61pi/cart", "web"),
        (b"/api/v2", "new"),
        (b"/api/v2/x", "new"),
        (b"/api/v20", "api"),
        (b"/api/v3/../v2", "api"),
    ],
)
def test_the_first_route_that_takes_the_path_answers(target: bytes, service: str) -> None:
    assert found(SHOP, target) == service


@pytest.mark.parametrize("target", [b"/", b"/x", b"*", b"/ap", b"/apis?/api", b"?", b""])
def test_a_path_without_a_route_is_answered_by_nobody(target: bytes) -> None:
    assert found(table(PathRoute("/api", "api", 80)), target) == ""


def test_without_routes_everything_goes_to_the_one_service() -> None:
    plain = table()
    for target in (b"/", b"*", b"/anything?at=all", b""):
        assert plain.find(target) == ServiceTarget("ns", "web", 80)


def test_routes_in_the_order_given_decide_not_their_length() -> None:
    ordered = table(PathRoute("/", "web", 80), PathRoute("/api", "api", 80))
    assert found(ordered, b"/api") == "web"


def test_a_path_beyond_ascii_is_compared_as_its_utf_8_octets() -> None:
    assert found(table(PathRoute("/é", "api", 80)), "/é/x".encode()) == "api"
