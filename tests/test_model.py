"""The model: plain values that are safe to share and to hash."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from lapdev import model
from lapdev.model import (
    ClusterId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    Intercept,
    InterceptRoute,
    PortMap,
    Protocol,
    RouteSnapshot,
    Service,
    ServicePort,
)

VALUES = [cls for _, cls in inspect.getmembers(model, dataclasses.is_dataclass)]


@pytest.mark.parametrize("cls", VALUES)
def test_every_value_is_frozen_and_slotted(cls: type) -> None:
    assert vars(cls)["__dataclass_params__"].frozen
    assert "__slots__" in vars(cls)


def test_a_value_cannot_be_changed_behind_its_owner() -> None:
    port = PortMap(80, 8080)
    with pytest.raises(dataclasses.FrozenInstanceError):
        port.local_port = 1  # type: ignore[misc]
    assert dataclasses.replace(port, local_port=1) == PortMap(80, 1)


def test_a_new_environment_is_pending_and_empty() -> None:
    environment = Environment(
        EnvironmentId("a"), "a", EnvironmentKind.SHARED, ClusterId("c"), "ns", None, 1
    )
    assert environment.status is EnvironmentStatus.PENDING
    assert environment.manifests == ()


def test_a_live_intercept_takes_branches_only_if_asked_to() -> None:
    for cls in (Intercept, InterceptRoute):
        [field] = [f for f in dataclasses.fields(cls) if f.name == "include_branches"]
        assert field.default is False


def test_a_port_is_not_taken_for_http_unless_it_says_so() -> None:
    assert ServicePort(80, 80).protocol is Protocol.UNDECLARED


def test_a_snapshot_without_rows_routes_nothing() -> None:
    snapshot = RouteSnapshot(EnvironmentId("a"), "a", "api", 1, "")
    assert (snapshot.branches, snapshot.intercepts) == ((), ())


def test_words_on_the_wire_are_the_lower_case_names() -> None:
    for enum in (model.ClusterStatus, EnvironmentKind, EnvironmentStatus, Protocol, model.RoleName):
        for item in enum:
            assert item.value == item.name.lower() == str(item)


def _selecting(selector: dict[str, str]) -> Service:
    return Service("api", selector, ())


def test_a_service_selects_pods_with_all_its_labels() -> None:
    labels = {"app": "api", "tier": "back"}
    assert _selecting({"app": "api"}).selects(labels)
    assert _selecting(labels).selects(labels)
    assert not _selecting({"app": "web"}).selects(labels)
    assert not _selecting({"app": "api", "track": "canary"}).selects(labels)


def test_a_service_without_a_selector_selects_nothing() -> None:
    assert not _selecting({}).selects({"app": "api"})
