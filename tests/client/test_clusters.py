"""`lapdev cluster` against the real API."""

from __future__ import annotations

from lapdev.client.clusters import group
from tests.support.served_api import ServedApi


async def test_clusters_are_listed_with_their_status(api: ServedApi) -> None:
    (cluster,) = (await api.json(group, "list"))["clusters"]
    assert (cluster["name"], cluster["status"], cluster["detail"]) == ("local", "provisioning", "")
    api.rig.link.connected.add("local")
    assert (await api.run(group, "list")).stdout.splitlines() == [
        "NAME   STATUS  DETAIL",
        "local  ready",
    ]
