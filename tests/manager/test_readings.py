"""What is read once, and what is read again."""

from __future__ import annotations

import copy

import pytest

from lapdev.errors import ConfigError
from lapdev.manager.readings import Readings
from tests.support.wishes import API, base, config, deployment, reading


def test_equal_objects_are_read_once() -> None:
    readings = Readings()
    first = readings.of(base(generation=1).environment)
    assert readings.of(copy.deepcopy(base(generation=2)).environment) is first
    other = readings.of(base(deployment("api"), generation=3).environment)
    assert [workload.name for workload in other.workloads] == ["api"]


def test_what_is_not_kept_is_read_again() -> None:
    readings, environment = Readings(), base().environment
    first = readings.of(environment)
    readings.keep({environment.id})
    assert readings.of(environment) is first
    readings.keep(())
    assert readings.of(environment) is not first


def test_objects_that_cannot_be_read_are_read_again_each_time() -> None:
    readings, bad = Readings(), base({"kind": "Deployment"}).environment
    for _ in range(2):
        with pytest.raises(ConfigError):
            readings.of(bad)


def test_what_stands_before_what_is_found_once_for_equal_objects() -> None:
    readings = Readings()
    first = readings.fronts(base(generation=1).environment)
    assert readings.fronts(copy.deepcopy(base(generation=2)).environment) is first
    changed = readings.fronts(base(*API, generation=3).environment)
    assert changed.behind.keys() == {"api"}


def test_objects_that_miss_something_are_checked_again_each_time() -> None:
    api = reading(API[0], ("ConfigMap", "settings"))
    readings = Readings()
    for _ in range(2):
        with pytest.raises(ConfigError, match="ConfigMap/settings"):
            readings.fronts(base(api).environment)
    assert readings.fronts(base(api, config("settings")).environment).behind == {}
