"""What became of each object."""

from __future__ import annotations

from lapdev.cloud.changes import Changes, compare
from tests.support.shop_manifests import deployment, service


def test_each_object_is_told_once_in_the_order_written() -> None:
    before = [deployment("web"), deployment("api"), service("web"), service("old")]
    after = [service("web"), service("new"), deployment("api", image="shop:2"), deployment("web")]
    assert compare(before, after) == Changes(
        created=("Service/new",),
        changed=("Deployment/api",),
        removed=("Service/old",),
        unchanged=("Service/web", "Deployment/web"),
    )


def test_the_first_objects_are_all_created_and_one_name_of_two_kinds_is_two() -> None:
    objects = [deployment("web"), service("web")]
    assert compare((), objects) == Changes(created=("Deployment/web", "Service/web"))
    assert compare(objects, objects[:1]).removed == ("Service/web",)
