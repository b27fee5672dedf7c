"""`lapdev devbox intercept` against the real API."""

from __future__ import annotations

import json

import pytest

from lapdev.client.devbox import intercept_group
from tests.support.served_api import ServedApi


async def test_an_intercept_is_added_listed_and_removed(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(intercept_group, "add", "web", "-e", "shop", "--port", "8080:3001")
    device = (api.home / "lapdev" / "device").read_text().strip()
    assert made["device"] == device
    assert made["workload"] == "web"
    assert made["ports"] == [{"service_port": 8080, "local_port": 3001}]
    assert not made["device_connected"]
    assert await api.json(intercept_group, "list") == {"intercepts": [made]}
    assert await api.json(intercept_group, "list", "-e", "shop") == {"intercepts": [made]}
    shown = (await api.run(intercept_group, "list")).stdout.splitlines()[1]
    assert shown.split() == [made["id"], "shop", "web", "8080:3001", device, "no"]
    assert await api.json(intercept_group, "rm", made["id"]) == {"removed": made["id"]}
    assert await api.json(intercept_group, "list", "--all") == {"intercepts": []}


async def test_adding_again_changes_the_ports_of_this_machines_intercept(api: ServedApi) -> None:
    await api.rig.make_shop()
    await api.json(intercept_group, "add", "web", "-e", "shop", "--port", "8080:3001")
    again = await api.json(intercept_group, "add", "web", "-e", "shop", "--port", "8080:3002")
    assert again["ports"] == [{"service_port": 8080, "local_port": 3002}]
    assert await api.json(intercept_group, "list", "--all") == {"intercepts": [again]}


async def test_an_intercept_is_ended_by_the_name_of_its_service(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(intercept_group, "add", "web", "-e", "shop")
    assert await api.json(intercept_group, "rm", "web") == {"removed": made["id"]}
    assert await api.json(intercept_group, "list", "--all") == {"intercepts": []}


async def test_another_devices_intercepts_are_shown_on_request(api: ServedApi) -> None:
    await api.rig.make_shop()
    words = ("add", "web", "-e", "shop", "--device", "other", "--include-branches")
    made = await api.json(intercept_group, *words)
    assert made["include_branches"]
    assert await api.json(intercept_group, "list") == {"intercepts": []}
    assert await api.json(intercept_group, "list", "--all") == {"intercepts": [made]}


async def test_the_connected_environment_is_the_default(api: ServedApi) -> None:
    await api.rig.make_shop()
    folder = api.home / "lapdev"
    folder.mkdir()
    (folder / "devbox.json").write_text(json.dumps({"environment": "shop"}))
    result = await api.run(intercept_group, "add", "web")
    assert result.stdout.splitlines()[1:3] == [
        "  port 8080 -> localhost:3000",
        "  port 9229 -> localhost:9229",
    ]
    assert "`lapdev devbox connect -e shop`" in result.stdout


async def test_without_an_environment_it_says_what_to_do(api: ServedApi) -> None:
    result = await api.run(intercept_group, "add", "web")
    assert result.exit_code == 2
    assert "--environment" in result.stderr


@pytest.mark.parametrize("port", ["", "x", "0", "65536", "8080:", "80:x", "1:2:3", "-1", "٣"])
async def test_a_wrong_port_is_wrong_usage(api: ServedApi, port: str) -> None:
    result = await api.run(intercept_group, "add", "web", "-e", "shop", "--port", port)
    # "8080:" reads as the port itself.
    assert (result.exit_code == 2) == (port != "8080:"), result.output
