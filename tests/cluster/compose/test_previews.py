"""Which services get URLs."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import hosts, of_kind, project

SERVICES = """
services:
  web: {command: x, ports: ["8080:80"]}
  api: {command: x, ports: ["3000:3000"]}
  db: {command: x, ports: ["5432:5432"]}
  q: {command: x, expose: [7000]}
"""


def tcp(text: str) -> dict[str, str]:
    return {
        item["metadata"]["name"]: item["metadata"]["annotations"]["lapdev.dev/tcp-preview"]
        for item in of_kind(project(text), "Service")
        if "annotations" in item["metadata"]
    }


def test_what_is_published_gets_a_url_unless_it_does_not_speak_http() -> None:
    assert hosts(project(SERVICES)) == {"web": {"/": ("web", 80)}, "api": {"/": ("api", 3000)}}
    assert tcp(SERVICES) == {"db": "5432"}


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ("x-uffizzi: {ingress: {service: web, port: 80}}", {"web": {"/": ("web", 80)}}),
        ("x-uffizzi-ingress: {service: q, port: 7000}", {"q": {"/": ("q", 7000)}}),
        # What Docker would publish stands for the port behind it.
        ("x-uffizzi: {ingress: {service: web, port: 8080}}", {"web": {"/": ("web", 80)}}),
        # A port that nobody declared is one all the same.
        ("x-uffizzi: {ingress: {service: q, port: 7001}}", {"q": {"/": ("q", 7001)}}),
        ("x-lapdev: {ingress: {service: api}}", {"api": {"/": ("api", 3000)}}),
        ("x-lapdev: {ingress: {name: Shop, service: api}}", {"shop": {"/": ("api", 3000)}}),
        (
            "x-lapdev: {ingress: {host: shop, service: web, paths: [{path: /api/, service: api}]}}",
            {"shop": {"/": ("web", 80), "/api": ("api", 3000)}},
        ),
        (
            "x-lapdev: {ingress: [{service: web}, {name: rest, paths: [{service: api}]}]}",
            {"web": {"/": ("web", 80)}, "rest": {"/": ("api", 3000)}},
        ),
        ("x-lapdev: {ingress: []}", {"web": {"/": ("web", 80)}, "api": {"/": ("api", 3000)}}),
    ],
)
def test_the_top_level_says_all_there_is(
    top: str, expected: dict[str, dict[str, tuple[str, int]]]
) -> None:
    assert hosts(project(f"{SERVICES}{top}\n")) == expected


@pytest.mark.parametrize(
    ("web", "api", "expected"),
    [
        ("http: false", "http: 3001", {"api": {"/": ("api", 3001)}}),
        ("http: 80", "host: Rest", {"web": {"/": ("web", 80)}, "rest": {"/": ("api", 3000)}}),
        ("path: /", "path: /api", {"web": {"/": ("web", 80), "/api": ("api", 3000)}}),
        # The other one takes what is left.
        ("", "path: /api", {"web": {"/": ("web", 80), "/api": ("api", 3000)}}),
        ("http: false", "path: /api", {"api": {"/api": ("api", 3000)}}),
        (
            "host: shop",
            "{host: shop, path: /api}",
            {"shop": {"/": ("web", 80), "/api": ("api", 3000)}},
        ),
        ("tcp: 80", "http: 3000", {"web": {"/": ("web", 80)}, "api": {"/": ("api", 3000)}}),
    ],
)
def test_services_say_it_themselves(
    web: str, api: str, expected: dict[str, dict[str, tuple[str, int]]]
) -> None:
    def extension(text: str) -> str:
        body = text.strip("{}")
        return f", x-lapdev: {{{body}}}" if body else ""

    found = project(
        "services:\n"
        f"  web: {{command: x, ports: ['8080:80']{extension(web)}}}\n"
        f"  api: {{command: x, ports: ['3000']{extension(api)}}}\n"
    )
    if "tcp" in web:
        expected = {"api": expected["api"]}
    assert hosts(found) == expected


def test_raw_tcp_is_asked_for_or_known() -> None:
    text = """
        services:
          a: {command: x, x-lapdev: {tcp: [7000, 7001]}}
          b: {command: x, image: "acme/redis:1", ports: ["6379"]}
          c: {command: x, ports: ["5432"], x-lapdev: {http: 5432}}
          d: {command: x, expose: [3306]}
        """
    assert tcp(text) == {"a": "7000,7001", "b": "6379"}
    assert hosts(project(text)) == {"c": {"/": ("c", 5432)}}


@pytest.mark.parametrize(
    ("top", "problem"),
    [
        ("x-uffizzi: {ingress: {port: 80}}", "names no service"),
        ("x-uffizzi: {ingress: {service: wep, port: 80}}", "no active service 'wep'"),
        ("x-uffizzi: {ingress: {service: db, port: x}}", "not a whole number"),
        ("x-lapdev: {ingress: {name: a}}", "leads nowhere"),
        ("x-lapdev: {ingress: {service: late}}", "has not one port"),
        ("x-lapdev: {ingress: {service: web, extra: 1}}", "no such key"),
        ("x-lapdev: {ingres: {service: web}}", "no such key"),
        ("x-lapdev: {ingress: {paths: [{path: x, service: web}]}}", "is not a path"),
        (
            "x-lapdev: {ingress: {service: web, paths: [{path: /, service: api}]}}",
            "path / of web leads to api:3000 and to web:80",
        ),
    ],
)
def test_a_mistake_is_told(top: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        project(f"{SERVICES}  late: {{command: x}}\n{top}\n")
    assert caught.value.detail.startswith("compose.yaml:")
    assert caught.value.hint


def test_a_preview_of_a_service_without_a_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="service 'web' has no port"):
        project("services: {web: {command: x, x-lapdev: {path: /}}}")
