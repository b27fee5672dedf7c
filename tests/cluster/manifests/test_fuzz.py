"""Any JSON gives values, or a complaint that names its place: never a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.cluster.manifests import (
    Manifests,
    PodFacts,
    check_references,
    local_command,
    merge_patch,
    parse_objects,
    parse_workload,
    pod_env,
)
from lapdev.errors import ConfigError
from tests.cluster.manifests.everything import objects

FACTS = PodFacts("web-0", "shop", "198.18.0.2", "198.18.0.1")
WORDS = ["", "a", "/", "..", "\0", "\ud800", "Always", "1e99", "128Mi", "* * * * *", "data", "web"]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 65536, 2**63]),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, "name", "key", "kind"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a tree."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


WHOLE = objects()
PLACES = list(places(WHOLE))


def put(path: tuple[Any, ...], value: Any, *, keep: bool = False) -> list[Any]:
    """The objects with `value` at that place; with `keep`, beside what is there."""
    changed = copy.deepcopy(WHOLE)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if keep and isinstance(inner[path[-1]], list):
        value = [*inner[path[-1]], value]
    elif keep and isinstance(inner[path[-1]], dict) and isinstance(value, dict):
        value = inner[path[-1]] | value
    inner[path[-1]] = value
    return changed


def use(manifests: Manifests) -> None:
    """Everything that is done with what was read."""
    check_references(manifests)
    for workload in manifests.workloads:
        for container in workload.pod.all_containers():
            env = pod_env(container, FACTS, {}, manifests.configs_by_name())
            words = local_command(workload, container, env)
            assert words and all(isinstance(word, str) for word in words)
            assert not any("\0" in word for word in (*words, *env, *env.values()))
    repr(manifests)


def test_the_whole_is_valid() -> None:
    manifests = parse_objects(WHOLE)
    use(manifests)
    assert len(manifests.workloads) == 6


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), values, st.booleans())
def test_anything_anywhere_gives_values_or_a_complaint(
    path: tuple[Any, ...], value: Any, keep: bool
) -> None:
    try:
        use(parse_objects(put(path, value, keep=keep)))
    except ConfigError as exc:
        assert exc.detail and exc.hint
        assert "czNjcmV0" not in exc.detail and "s3cret" not in exc.detail


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(values, max_size=3))
def test_arbitrary_objects_give_values_or_a_complaint(found: list[Any]) -> None:
    try:
        use(parse_objects(found))
    except ConfigError as exc:
        assert exc.detail and exc.hint


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["web", "migrate", "none"]),
    st.sampled_from(["image", "env", "command", "args", "annotations", "ports"]),
    values,
)
def test_any_patch_gives_a_workload_or_a_complaint(name: str, key: str, value: Any) -> None:
    for manifest in WHOLE[:6]:
        try:
            parse_workload(merge_patch(manifest, {name: {key: value}}))
            parse_workload(merge_patch(manifest, {name: value}))
        except ConfigError as exc:
            assert exc.detail
