"""Control messages: there and back through msgpack; wrong ones are refused by name."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.model import (
    BranchRoute,
    ClusterId,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    Intercept,
    InterceptId,
    InterceptRoute,
    PortMap,
    RouteSnapshot,
    Service,
    ServicePort,
    WorkloadStatus,
)
from lapdev.wire.control import (
    ApplyEnvironment,
    ApplyRoutes,
    Done,
    EnvironmentRef,
    InterceptGrant,
    InterceptTarget,
    Message,
    ReportCluster,
    ReportEnvironment,
    RoutesApplied,
    ServiceTarget,
    SyncEnvironments,
    SyncNeeds,
    decode_message,
    decode_target,
    encode_message,
    encode_target,
)

ONE = EnvironmentId("one0000000000000")
INTERCEPT = Intercept(InterceptId("i"), ONE, "api", "api", DeviceId("d"), (PortMap(80, 8080),))
ENVIRONMENT = Environment(
    ONE,
    "one",
    EnvironmentKind.BRANCH,
    ClusterId("c"),
    "ns",
    EnvironmentId("base"),
    7,
    ({"kind": "Deployment", "spec": {"replicas": 1, "list": [1, None, True]}},),
)
SNAPSHOT = RouteSnapshot(
    EnvironmentId("base"),
    "staging",
    "api",
    7,
    "digest",
    (BranchRoute(ONE, "one", {80: "10.0.0.1:80", 8080: "10.0.0.1:8080"}),),
    (InterceptRoute(InterceptId("i"), None, (80,), "token", "unix:/c", True),),
)
SERVICE = Service("api", {"app": "api"}, (ServicePort(80, "http"), ServicePort(81, 8081)))

MESSAGES: list[Message] = [
    Done(),
    SyncEnvironments((EnvironmentRef(ONE, 7),)),
    SyncNeeds((ONE,)),
    ApplyEnvironment(ENVIRONMENT, (InterceptGrant(INTERCEPT, "token", "unix:/c"),)),
    ReportCluster("1", "local"),
    ReportEnvironment(
        ONE, 7, EnvironmentStatus.READY, "", (WorkloadStatus("api", 1, 1),), (SERVICE,)
    ),
    ApplyRoutes(SNAPSHOT),
    RoutesApplied(7, "digest"),
]


def through_msgpack(value: Any) -> Any:
    """As the tunnel does it: text keys only."""
    return msgpack.unpackb(msgpack.packb(value), strict_map_key=True)


@pytest.mark.parametrize("message", MESSAGES, ids=[type(m).__name__ for m in MESSAGES])
def test_a_message_comes_back_equal(message: Message) -> None:
    name, body = encode_message(message)
    assert decode_message(name, through_msgpack(body)) == message


@pytest.mark.parametrize(
    "target", [ServiceTarget("ns", "api", 80), InterceptTarget(INTERCEPT.id, 1)]
)
def test_a_target_comes_back_equal(target: ServiceTarget | InterceptTarget) -> None:
    assert decode_target(through_msgpack(encode_target(target))) == target


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    body = {"version": "2", "driver": "local", "colour": "blue"}
    assert decode_message("ReportCluster", body) == ReportCluster("2", "local", "")


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("Nonsense", {}, "unknown control message"),
        (7, {}, "unknown control message"),
        ("RoutesApplied", {"generation": 1}, "digest is missing"),
        ("RoutesApplied", {"generation": True, "digest": ""}, "generation"),
        ("RoutesApplied", {"generation": "1", "digest": ""}, "generation"),
        ("RoutesApplied", [], "a map belongs"),
        ("SyncNeeds", {"environments": "abc"}, "environments"),
        ("ReportEnvironment", {"id": "a", "generation": 1, "status": "asleep"}, "asleep"),
    ],
)
def test_a_wrong_message_is_refused_by_the_name_of_what_is_wrong(
    name: object, body: object, says: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        decode_message(name, body)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"kind": "host", "host": "127.0.0.1", "port": 22},
        {"kind": "intercept", "intercept": "i", "port": 0},
        {"kind": "intercept", "intercept": "i", "port": 65536},
        {"kind": "service", "namespace": "ns", "service": "api", "port": "80"},
    ],
)
def test_a_wrong_target_is_refused(value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_target(value)
