"""Which previews manifests ask for."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cloud.wishes import offered_ports, preview_wishes
from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError
from lapdev.model import PathRoute
from lapdev.store import PreviewWish
from tests.support.shop_manifests import deployment, ingress, service, shop

WEB = PreviewWish("web", 8080)


def marked(mark: str, value: str, **spec: Any) -> list[dict[str, Any]]:
    made = service("db", {"name": "pg", "port": 5432}, {"port": 8080})
    made["metadata"]["annotations"] = {mark: value}
    made["spec"].update(spec)
    return [deployment("db"), made]


def test_only_marked_services_get_previews_and_only_for_http() -> None:
    assert preview_wishes(parse_objects(shop())) == (WEB,)


def test_a_label_marks_a_service_too_and_any_other_value_does_not() -> None:
    yes, no = service("web"), service("api")
    yes["metadata"]["labels"] = {"lapdev.dev/preview": "true"}
    no["metadata"]["labels"] = {"lapdev.dev/preview": "yes"}
    manifests = parse_objects([deployment("web"), deployment("api"), yes, no])
    assert preview_wishes(manifests) == (WEB,)


@pytest.mark.parametrize(
    ("value", "ports"),
    [("5432", [5432]), (" 8080, 5432 ", [8080, 5432]), ("pg", [5432]), ("", []), (",", [])],
)
def test_tcp_previews_are_made_of_the_ports_named(value: str, ports: list[int]) -> None:
    wishes = preview_wishes(parse_objects(marked("lapdev.dev/tcp-preview", value)))
    assert wishes == tuple(PreviewWish("db", port, tcp=True) for port in ports)


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("7", 7), ("86400", 86_400)])
def test_a_mark_says_how_long_its_service_may_take(value: str, seconds: int) -> None:
    web = service("web")
    web["metadata"]["annotations"] = {
        "lapdev.dev/preview": "true",
        "lapdev.dev/tcp-preview": "8080",
        "lapdev.dev/answer-timeout": value,
    }
    api = service("api")
    api["metadata"]["labels"] = {"lapdev.dev/preview": "true"}
    manifests = parse_objects([deployment("web"), deployment("api"), web, api])
    wishes = {wish.key: wish.answer_timeout for wish in preview_wishes(manifests)}
    assert wishes == {
        ("http", "", "web", "8080"): seconds,
        ("tcp", "", "web", "8080"): None,
        ("http", "", "api", "8080"): None,
    }


@pytest.mark.parametrize("value", ["", "-1", "1.5", "5s", "86401", "9" * 5_000, "\u0663"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"Service/db: lapdev\.dev/answer-timeout") as refused:
        preview_wishes(parse_objects(marked("lapdev.dev/answer-timeout", value)))
    assert "whole seconds" in refused.value.hint


def test_one_port_named_twice_is_one_preview() -> None:
    wishes = preview_wishes(parse_objects(marked("lapdev.dev/tcp-preview", "5432,pg,5432")))
    assert wishes == (PreviewWish("db", 5432, tcp=True),)


@pytest.mark.parametrize("value", ["1", "true", "5432 8080", "-5432", "0x10"])
def test_a_port_that_the_service_does_not_have_is_refused_by_name(value: str) -> None:
    with pytest.raises(ConfigError, match=r"Service/db: .*which it does not have") as caught:
        preview_wishes(parse_objects(marked("lapdev.dev/tcp-preview", value)))
    assert caught.value.hint == "its ports are: 5432, 8080"


def test_each_host_of_an_ingress_is_a_preview_with_its_paths() -> None:
    objects = [*shop(), ingress("pages", ("/", "web", 8080), ("/api", "api", 8080))]
    assert preview_wishes(parse_objects(objects)) == (
        WEB,
        PreviewWish(
            "api",
            8080,
            "pages",
            (PathRoute("/api", "api", 8080), PathRoute("/", "web", 8080)),
        ),
    )


def test_what_has_no_pods_is_neither_offered_nor_previewed() -> None:
    elsewhere = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "mail", "annotations": {"lapdev.dev/preview": "true"}},
        "spec": {"type": "ExternalName", "externalName": "mail.test", "ports": [{"port": 25}]},
    }
    manifests = parse_objects([*shop(), elsewhere])
    assert preview_wishes(manifests) == (WEB,)
    assert offered_ports(manifests) == {("web", 8080), ("web", 9229), ("api", 8080)}
