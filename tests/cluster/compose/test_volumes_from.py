"""Services that see what others mount."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import container, project

DATA = "data: {image: x, command: 'true', volumes: [/shared, './src:/code'], tmpfs: [/fast]}"


def mounts(services: str, name: str) -> dict[str, tuple[str, bool]]:
    """Path → volume, and whether it may only be read."""
    found = container(project(f"services: {{{services}}}"), name).get("volumeMounts", [])
    return {each["mountPath"]: (each["name"], each.get("readOnly", False)) for each in found}


def test_a_service_sees_the_very_volumes_of_another() -> None:
    app = "app: {image: x, command: a, volumes_from: [data]}"
    seen = mounts(f"{DATA}, {app}", "app")
    assert set(seen) == {"/shared", "/code", "/fast"}
    assert seen == mounts(f"{DATA}, {app}", "data")


def test_they_may_be_read_only_come_by_way_of_others_and_give_way_to_its_own() -> None:
    app = "app: {image: x, command: a, volumes_from: ['data:ro']}"
    web = "web: {image: x, command: a, volumes_from: [app], volumes: [/shared]}"
    seen = mounts(f"{DATA}, {app}, {web}", "web")
    assert seen["/code"][1] and seen["/fast"] == ("data-fast", True)
    assert seen["/shared"] == ("web-shared", False)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("none", "there is no service 'none' that runs"),
        ("container:x", "names a container of elsewhere"),
        ("data:rx", "'rx' is no mode"),
        ("app", "have volumes from each other"),
    ],
)
def test_what_cannot_be_seen_is_refused(written: str, complaint: str) -> None:
    app = f"app: {{image: x, command: a, volumes_from: ['{written}']}}"
    with pytest.raises(ConfigError, match=complaint):
        project(f"services: {{{DATA}, {app}}}")
