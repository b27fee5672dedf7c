"""Services: ports, targets and what a port declares."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests.service import parse_service
from lapdev.errors import ConfigError
from lapdev.model import Protocol, ServicePort


def manifest(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Service",
        "metadata": {"name": "api"},
        "spec": {"selector": {"app": "api"}, "ports": list(ports), **spec},
    }


def test_targets_may_be_a_number_a_name_or_the_port_itself() -> None:
    service = parse_service(
        manifest({"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "http"}, {"port": 82})
    )
    assert [port.target for port in service.ports] == [8080, "http", 82]
    assert (service.name, service.selector) == ("api", {"app": "api"})


def test_ports_other_than_tcp_are_left_out() -> None:
    service = parse_service(manifest({"port": 53, "protocol": "UDP"}, {"port": 53, "name": "dns"}))
    assert service.ports == (ServicePort(53, 53, "dns"),)


@pytest.mark.parametrize(
    ("app_protocol", "name", "wanted"),
    [
        ("", "http", Protocol.HTTP),
        ("", "http-web", Protocol.HTTP),
        ("HTTP", "x", Protocol.HTTP),
        ("kubernetes.io/ws", "", Protocol.HTTP),
        ("", "grpc-web", Protocol.HTTP),
        ("", "grpc", Protocol.TCP),
        ("", "grpc-api", Protocol.TCP),
        ("kubernetes.io/h2c", "http", Protocol.TCP),
        ("", "tcp-x", Protocol.TCP),
        ("", "redis", Protocol.TCP),
        ("", "https", Protocol.TCP),
        ("", "httpish", Protocol.UNDECLARED),
        ("", "", Protocol.UNDECLARED),
        ("example.com/mine", "main", Protocol.UNDECLARED),
    ],
)
def test_what_a_port_declares(app_protocol: str, name: str, wanted: Protocol) -> None:
    port = {"port": 80, "name": name} | ({"appProtocol": app_protocol} if app_protocol else {})
    assert parse_service(manifest(port)).ports[0].protocol is wanted


def test_our_annotations_count_as_labels_and_a_label_wins() -> None:
    item = manifest({"port": 80})
    item["metadata"] |= {
        "annotations": {"lapdev.dev/preview": "true", "lapdev.dev/x": "1", "other": "y"},
        "labels": {"lapdev.dev/x": "2"},
    }
    assert parse_service(item).labels == {"lapdev.dev/preview": "true", "lapdev.dev/x": "2"}


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (manifest(type="ExternalName"), r"Service/api: spec\.externalName: is nothing"),
        (manifest(type="ExternalName", externalName="a b"), "'a b' is not a name"),
        (manifest(type="Other"), "spec.type: is 'Other'"),
        (manifest(selector={}), "selects no pods"),
        (manifest(selector=None), "selects no pods"),
        (manifest({"port": 70000}), "is 70000"),
        (manifest({"port": 80, "targetPort": 0}), "targetPort: is 0"),
        (manifest({"port": 80, "name": "a"}, {"port": 80, "name": "b"}), "number twice"),
    ],
)
def test_a_service_that_leads_nowhere_is_refused(item: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_service(item)


def test_an_external_name_selects_nothing() -> None:
    service = parse_service(manifest(type="ExternalName", externalName="DB.example.com."))
    assert (service.external_name, service.selector) == ("db.example.com", {})
    assert not service.headless


def test_a_headless_service_may_publish_pods_that_are_not_ready() -> None:
    service = parse_service(manifest(clusterIP="None", publishNotReadyAddresses=True))
    assert (service.headless, service.publish_not_ready) == (True, True)
    plain = parse_service(manifest({"port": 80}))
    assert (plain.headless, plain.publish_not_ready, plain.external_name) == (False, False, "")
