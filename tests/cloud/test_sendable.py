"""What is stored can be sent: not too large, not too deep."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cloud.sendable import MAX_OBJECT_DEPTH, MAX_OBJECTS_BYTES, check_sendable
from lapdev.errors import ConfigError
from lapdev.model import ClusterId, Environment, EnvironmentId, EnvironmentKind
from lapdev.wire.control import ApplyEnvironment, encode_message
from lapdev.wire.mux.frames import FrameType, decode, encode
from tests.cloud.test_api import ask, refused
from tests.support.api import ApiRig
from tests.support.shop_manifests import configured, deployment, shop


def nested(levels: int) -> dict[str, Any]:
    """An object `levels` deep."""
    value: Any = "x"
    for _ in range(levels - 1):
        value = [value]
    return {"kind": "Role", "metadata": {"name": "deep"}, "rules": value}


def message(*objects: dict[str, Any]) -> bytes:
    environment = Environment(
        EnvironmentId("e" * 16),
        "n" * 63,
        EnvironmentKind.SHARED,
        ClusterId("c" * 16),
        "n" * 63,
        None,
        2**53 - 1,
        objects,
    )
    return encode(FrameType.CALL, 1, *encode_message(ApplyEnvironment(environment)))


def test_the_deepest_and_the_largest_that_pass_can_be_sent() -> None:
    deepest = nested(MAX_OBJECT_DEPTH)
    check_sendable([deepest])
    assert decode(message(deepest))
    large = configured("ConfigMap", "big", text="x" * (MAX_OBJECTS_BYTES - 200))
    check_sendable([large])
    assert decode(message(large))


def test_what_is_deeper_or_larger_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Role/deep: is nested deeper than 24 levels"):
        check_sendable([nested(MAX_OBJECT_DEPTH + 1)])
    large = configured("ConfigMap", "big", text="x" * MAX_OBJECTS_BYTES)
    with pytest.raises(ConfigError, match="bytes together") as caught:
        check_sendable([large])
    assert "two environments" in caught.value.hint


async def test_neither_is_stored(rig: ApiRig) -> None:
    body = {"manifests": [*shop(), nested(40)]}
    for method, path, more in (
        ("PUT", "/environments/shop", {}),
        ("POST", "/environments", {"name": "shop"}),
    ):
        error = await refused(rig, method, path, {**body, **more}, 422)
        assert "Role/deep" in error["detail"]
    assert await rig.store.environments() == []


async def test_a_branchs_changes_count_together(rig: ApiRig) -> None:
    await rig.make_shop()
    await ask(rig, "POST", "/environments/shop/branches", {"name": "fix"}, 201)
    half = {"patch": {"": {"env": {"A": "x" * (MAX_OBJECTS_BYTES // 2)}}}}
    await ask(rig, "PUT", "/environments/fix/workloads/web", half)
    error = await refused(rig, "PUT", "/environments/fix/workloads/api", half, 422)
    assert "bytes together" in error["detail"]
    await ask(rig, "PUT", "/environments/fix/workloads/web", half)
    whole = {"manifest": {**deployment("api"), "extra": nested(40)}}
    error = await refused(rig, "PUT", "/environments/fix/workloads/api", whole, 422)
    assert "nested deeper" in error["detail"]
