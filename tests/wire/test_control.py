"""Control messages: there and back through msgpack; wrong ones are refused by name."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.errors import RemoteProtocolError
from lapdev.model import (
    BranchRoute,
    ClusterId,
    DeviceId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    EnvironmentStatus,
    ExposureId,
    ExposureKind,
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
    MAX_LOG_LINES,
    ApplyEnvironment,
    ApplyRoutes,
    DeleteEnvironment,
    Done,
    EndExposure,
    EnvironmentRef,
    ExposureState,
    ExposureTarget,
    InterceptGrant,
    InterceptTarget,
    LogsTarget,
    Message,
    ReportCluster,
    ReportEnvironment,
    RequestSeen,
    RequestsSeen,
    RoutesApplied,
    ServiceTarget,
    SessionState,
    StartExposure,
    StartSession,
    SyncEnvironments,
    SyncNeeds,
    Target,
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
    (BranchRoute(ONE, "one", {"web:80": "10.0.0.1:80", "web:8080": "10.0.0.1:8080"}),),
    (InterceptRoute(InterceptId("i"), None, "web", (80,), "token", "unix:/c", True),),
)
SERVICE = Service("api", {"app": "api"}, (ServicePort(80, "http"), ServicePort(81, 8081)))

LOGS = {"environment": "e", "workload": "api", "container": "", "lines": 10, "follow": False}

MESSAGES: list[Message] = [
    Done(),
    SyncEnvironments((EnvironmentRef(ONE, 7),)),
    SyncNeeds((ONE,)),
    ApplyEnvironment(ENVIRONMENT, (InterceptGrant(INTERCEPT, "token", "unix:/c"),)),
    ReportCluster("1", "local", "no memory limits"),
    ReportEnvironment(
        ONE, 7, EnvironmentStatus.READY, "", (WorkloadStatus("api", 1, 1),), (SERVICE,)
    ),
    ApplyRoutes(SNAPSHOT),
    RoutesApplied(7, "digest"),
    DeleteEnvironment(ONE),
    StartSession(DeviceId("d"), "laptop", "one"),
    SessionState(ONE, "one", "ns", (SERVICE,), (INTERCEPT,)),
    StartExposure("a" * 64, ExposureKind.TCP, "db", 20_000, watch=True),
    ExposureState(ExposureId("db-x"), "tcp://127.0.0.1:20000"),
    EndExposure(ExposureId("db-x")),
    RequestsSeen(ExposureId("db-x"), (RequestSeen("GET", "/", 200, 1.5),), 2),
]


def through_msgpack(value: Any) -> Any:
    """As the tunnel does it: text keys only."""
    return msgpack.unpackb(msgpack.packb(value), strict_map_key=True)


@pytest.mark.parametrize("message", MESSAGES, ids=[type(m).__name__ for m in MESSAGES])
def test_a_message_comes_back_equal(message: Message) -> None:
    name, body = encode_message(message)
    assert decode_message(name, through_msgpack(body)) == message


def test_no_message_is_left_out_here() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


@pytest.mark.parametrize(
    "target",
    [
        ServiceTarget("ns", "api", 80),
        InterceptTarget(INTERCEPT.id, 1),
        LogsTarget(ONE, "api", "", 0, follow=True),
        LogsTarget(ONE, "api", "main", MAX_LOG_LINES, follow=False),
        ExposureTarget(ExposureId("db-x")),
    ],
)
def test_a_target_comes_back_equal(target: Target) -> None:
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
        ("ReportCluster", {"version": None, "driver": "local"}, r"ReportCluster\.version"),
        ("ReportCluster", {"version": b"1", "driver": "local"}, "a bytes where"),
        ("ApplyRoutes", {"snapshot": None}, r"snapshot: a NoneType where a map belongs"),
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
        {"kind": "logs", **LOGS, "lines": -1},
        {"kind": "logs", **LOGS, "lines": MAX_LOG_LINES + 1},
        {"kind": "logs", **LOGS, "follow": 1},
        {"kind": "logs", **LOGS, "workload": None},
        {"kind": "logs", "environment": "e", "workload": "api"},
        {"kind": "exposure", "host": "127.0.0.1", "port": 22},
    ],
)
def test_a_wrong_target_is_refused(value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_target(value)


@pytest.mark.parametrize("target", [[80], None, 1.5, True])
def test_a_value_that_fits_no_member_of_a_union_is_refused(target: object) -> None:
    name, body = encode_message(SessionState(ONE, "one", "ns", (SERVICE,), ()))
    body["services"][0]["ports"][0]["target"] = target
    with pytest.raises(RemoteProtocolError, match=r"ports\.target: .* fits no option"):
        decode_message(name, body)


def test_a_refusal_of_a_nested_value_says_where_it_is() -> None:
    name, body = encode_message(ApplyRoutes(SNAPSHOT))
    body["snapshot"]["intercepts"][0]["token"] = 7
    with pytest.raises(RemoteProtocolError, match=r"ApplyRoutes\.snapshot\.intercepts\.token"):
        decode_message(name, body)


def test_a_refusal_names_the_type_and_never_the_value() -> None:
    """A token in the wrong place must not land in a log."""
    name, body = encode_message(ApplyRoutes(SNAPSHOT))
    body["snapshot"]["intercepts"][0]["ports"] = "very-secret-token"
    with pytest.raises(RemoteProtocolError) as refused:
        decode_message(name, body)
    assert "very-secret" not in str(refused.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(MESSAGES), st.data())
def test_any_change_to_a_message_gives_a_message_or_a_refusal(
    message: Message, data: st.DataObject
) -> None:
    name, body = encode_message(message)
    for key in body:
        if data.draw(st.booleans()):
            body[key] = data.draw(plain)
    try:
        decoded = decode_message(name, body)
    except RemoteProtocolError:
        return
    assert type(decoded) is type(message)
    assert decode_message(*encode_message(decoded)) == decoded


@settings(max_examples=200, deadline=None, derandomize=True)
@given(plain)
def test_any_value_is_a_target_or_a_refusal(value: object) -> None:
    for target in (value, {"kind": "service", "port": value}, {"kind": value, "port": 1}):
        with pytest.raises(RemoteProtocolError):
            decode_target(target)


def test_a_service_target_is_tcp_unless_it_says_udp_and_neither_tcp_nor_udp_is_refused() -> None:
    plain = encode_target(ServiceTarget("shop", "dns", 53))
    assert "protocol" not in plain, "the usual case costs nothing"
    assert decode_target(plain) == ServiceTarget("shop", "dns", 53, "tcp")
    udp = ServiceTarget("shop", "dns", 53, "udp")
    assert decode_target(encode_target(udp)) == udp
    with pytest.raises(RemoteProtocolError, match="neither tcp nor udp"):
        decode_target({**plain, "protocol": "sctp"})
