"""Ingresses: hosts, paths, backends."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import IngressHost, parse_objects
from lapdev.errors import ConfigError
from lapdev.model import PathRoute
from tests.cluster.manifests import test_service

WEB = test_service.manifest({"port": 80, "name": "http"}, {"port": 81, "name": "admin"})
WEB["metadata"] = {"name": "web"}


def backend(service: str = "web", **port: Any) -> dict[str, Any]:
    return {"service": {"name": service, "port": port or {"number": 80}}}


def path(text: str | None, kind: str = "Prefix", **port: Any) -> dict[str, Any]:
    return {"path": text, "pathType": kind, "backend": backend(**port)}


def rule(host: str | None, *paths: dict[str, Any]) -> dict[str, Any]:
    return {"host": host, "http": {"paths": list(paths)}}


def ingress(*rules: dict[str, Any], name: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": list(rules), "ingressClassName": "nginx", "tls": [{}], **spec},
    }


def hosts(*objects: dict[str, Any]) -> tuple[IngressHost, ...]:
    return parse_objects([*objects, WEB]).ingresses


def routes(*paths: dict[str, Any]) -> list[tuple[str, bool]]:
    (host,) = hosts(ingress(rule("shop.example.com", *paths)))
    return [(route.path, route.exact) for route in host.routes]


def test_paths_come_longest_first_and_exact_before_a_prefix() -> None:
    assert routes(
        path("/"), path("/a"), path("/a/b/"), path("/a", "Exact"), path("/x/", "Exact")
    ) == [("/a/b", False), ("/x/", True), ("/a", True), ("/a", False), ("/", False)]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (path("/api", "ImplementationSpecific"), ("/api", False)),
        (path("/api/*", "ImplementationSpecific"), ("/api", False)),
        (path("/*", "ImplementationSpecific"), ("/", False)),
        (path(None), ("/", False)),
        (path(""), ("/", False)),
        ({"path": "/api", "backend": backend()}, ("/api", False)),
    ],
)
def test_every_type_of_path_is_read(written: dict[str, Any], wanted: tuple[str, bool]) -> None:
    assert routes(written) == [wanted]


def test_a_backends_port_may_be_a_name() -> None:
    (host,) = hosts(ingress(rule("a.example.com", path("/", name="admin"))))
    assert host == IngressHost("shop", (PathRoute("/", "web", 81),))


def test_backends_of_older_versions_are_read() -> None:
    old = {"serviceName": "web", "servicePort": "admin"}
    (host,) = hosts(
        ingress(
            {"http": {"paths": [{"path": "/a", "backend": old}]}},
            backend={"serviceName": "web", "servicePort": 80},
        )
    )
    assert host.routes == (PathRoute("/a", "web", 81), PathRoute("/", "web", 80))


def test_the_default_backend_answers_what_nothing_else_does() -> None:
    default = {"service": {"name": "web", "port": {"number": 81}}}
    assert hosts(ingress(defaultBackend=default)) == (
        IngressHost("shop", (PathRoute("/", "web", 81),)),
    )
    first, second = hosts(
        ingress(
            rule("a.example.com", path("/a")),
            rule("b.example.com", path("/")),
            defaultBackend=default,
        )
    )
    assert first.routes == (PathRoute("/a", "web", 80), PathRoute("/", "web", 81))
    assert second.routes == (PathRoute("/", "web", 80),)


def test_rules_for_one_host_are_taken_together() -> None:
    (host,) = hosts(
        ingress(rule("a.example.com", path("/")), rule("a.example.com", path("/b"))),
        ingress(rule("a.example.com", path("/"), path("/c")), name="other"),
    )
    assert host.name == "shop"
    assert [route.path for route in host.routes] == ["/b", "/c", "/"]


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        ([ingress(rule("a.example.com", path("/")))], ["shop"]),
        ([ingress(rule(None, path("/")), name="my.shop")], ["my-shop"]),
        (
            [ingress(rule("a.example.com", path("/")), rule("b.example.com", path("/")))],
            ["a", "b"],
        ),
        (
            [ingress(rule("a.x.com", path("/")), rule("a.y.com", path("/")))],
            ["a", "a-2"],
        ),
        (
            [ingress(rule("a.x.com", path("/")), rule("*.x.com", path("/")))],
            ["a", "shop"],
        ),
        (
            [
                ingress(rule("a.x.com", path("/")), name="web"),
                ingress(rule("b.x.com", path("/")), name="api"),
            ],
            ["web", "api"],
        ),
        ([ingress(rule(None, path("/")), name="a" * 39 + ".b")], ["a" * 39]),
    ],
)
def test_every_host_has_a_name_of_its_own(objects: list[dict[str, Any]], wanted: list[str]) -> None:
    assert [host.name for host in hosts(*objects)] == wanted


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (ingress(), "Ingress/shop: spec: leads nowhere"),
        (ingress(rule("A B", path("/"))), r"rules\[0\]\.host: 'A B' is not a host name"),
        (ingress(rule("a" * 100_000 + "!", path("/"))), "is not a host name"),
        (ingress(rule(None, path("api"))), "'api' is not a plain path"),
        (ingress(rule(None, path("/api(/|$)(.*)"))), "is not a plain path"),
        (ingress(rule(None, path("/", "Regex"))), "pathType: is 'Regex'"),
        (ingress(rule(None, path("/", name="none"))), "Service web has no port named 'none'"),
        (
            ingress(rule(None, {"backend": backend("api", name="http")})),
            "there is no Service api with a port so named",
        ),
        (ingress(rule(None, {"backend": {"resource": {}}})), "resource: is not supported"),
        (ingress(rule(None, {"backend": {}})), r"backend\.service\.name: is nothing"),
        (
            ingress(rule("a.b", path("/a")), rule("a.b", path("/a", number=81))),
            "path /a of a.b leads to web:81, and to web:80 in Ingress/shop",
        ),
    ],
)
def test_an_ingress_that_leads_nowhere_is_refused(item: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        hosts(item)
    assert caught.value.hint


def test_rewriting_is_refused_where_it_would_change_something() -> None:
    item = ingress(rule(None, path("/")))
    item["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/rewrite-target": "/"}
    assert len(hosts(item)) == 1
    item["spec"]["rules"].append(rule(None, path("/api")))
    with pytest.raises(ConfigError, match="rewrite-target: paths are not rewritten here"):
        hosts(item)
