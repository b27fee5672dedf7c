"""What containers are in their pod, and what a new spec means for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigObject
from lapdev.cluster.pod_phase import can_update, entries, unchanged
from tests.cluster.contract import sidecar
from tests.support.one_pod import sh, template, wanted

CONFIG = ConfigObject("ConfigMap", "app", {"COLOR": b"blue"})


def facts(policy: str, **restart: str) -> list[tuple[str, str, str]]:
    def container(name: str) -> dict[str, Any]:
        own = restart.get(name)
        return sh(name, "true", **({"restartPolicy": own} if own else {}))

    pod = template(
        container("web"),
        container("job"),
        initContainers=[container("migrate"), container("proxy")],
        restartPolicy=policy,
    )
    return [(e.container.name, e.part, e.policy) for e in entries(wanted(pod).facts.pod)]


@pytest.mark.parametrize(
    ("policy", "init", "main"),
    [
        ("Always", "OnFailure", "Always"),
        ("OnFailure", "OnFailure", "OnFailure"),
        ("Never", "Never", "Never"),
    ],
)
def test_a_policy_holds_for_all_and_an_init_container_ends_once(
    policy: str, init: str, main: str
) -> None:
    assert facts(policy, proxy="Always") == [
        ("migrate", "init", init),
        ("proxy", "sidecar", "Always"),
        ("web", "main", main),
        ("job", "main", main),
    ]


def test_a_containers_own_policy_goes_before_its_pods() -> None:
    found = facts("Always", proxy="Always", migrate="Never", job="OnFailure")
    assert [policy for _, _, policy in found] == ["Never", "Always", "Always", "OnFailure"]


BEFORE = {
    "containers": [sh("web", "one"), sh("job", "one")],
    "initContainers": [sh("migrate", "one"), sh("proxy", "one", restartPolicy="Always")],
}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, {"web", "job", "migrate", "proxy"}),
        ({"containers": [sh("job", "one"), sh("web", "one")]}, {"web", "job", "migrate", "proxy"}),
        ({"containers": [sh("web", "two"), sh("job", "one")]}, {"job", "migrate", "proxy"}),
        ({"containers": [sh("web", "one")]}, {"web", "migrate", "proxy"}),
        ({"containers": [*BEFORE["containers"], sh("more", "one")]},
         {"web", "job", "migrate", "proxy"}),
        ({"initContainers": [sh("migrate", "two")]}, {"web", "job"}),
        # The same words, but another part to play.
        ({"initContainers": [sh("migrate", "one"), sh("proxy", "one")]}, {"web", "job", "migrate"}),
        ({"containers": [sh("web", "one")], "initContainers": [sh("job", "one")]}, {"web"}),
    ],
)  # fmt: skip
def test_containers_stay_that_are_as_they_were(changed: dict[str, Any], same: set[str]) -> None:
    old = wanted(template(**BEFORE))
    new = wanted(template(**BEFORE | changed))
    assert can_update(old, new)
    assert unchanged(old, new) == same


def test_what_a_container_refers_to_is_a_part_of_it() -> None:
    pod = template(sh("web", "x", envFrom=[{"configMapRef": {"name": "app"}}]), sh("job", "x"))
    old, new = wanted(pod, CONFIG), wanted(pod, dataclasses.replace(CONFIG, data={"COLOR": b"red"}))
    assert can_update(old, new)
    assert unchanged(old, new) == {"job"}


@pytest.mark.parametrize(
    "around",
    [
        {"volumes": [{"name": "data", "emptyDir": {}}]},
        {"restartPolicy": "Never"},
        {"terminationGracePeriodSeconds": 1},
        {"hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db"]}]},
    ],
)
def test_what_is_around_the_containers_cannot_change_under_them(around: dict[str, Any]) -> None:
    assert not can_update(wanted(template(**BEFORE)), wanted(template(**BEFORE | around)))


def test_a_sidecar_belongs_to_its_pod() -> None:
    old, new = wanted(template(**BEFORE)), wanted(template(**BEFORE), sidecar=sidecar("web"))
    assert not can_update(old, new)
    assert can_update(new, new)
