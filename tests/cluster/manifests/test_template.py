"""Where a workload's pod template stands."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import WORKLOAD_KINDS, pod_template_of


@pytest.mark.parametrize("kind", sorted(WORKLOAD_KINDS))
def test_the_template_of_every_kind_is_found_and_can_be_changed(kind: str) -> None:
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": []}}
    item: dict[str, Any] = {"kind": kind, "metadata": {"name": "x"}, "spec": {"template": template}}
    if kind == "CronJob":
        item["spec"] = {"jobTemplate": {"spec": {"template": template}}}
    if kind == "Pod":
        item = template = {"kind": kind, **template}
    assert pod_template_of(item) is template
