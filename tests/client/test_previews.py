"""`lapdev preview` against the real API."""

from __future__ import annotations

from lapdev.client.previews import group
from lapdev.errors import LapdevError
from tests.support.served_api import ServedApi


async def test_a_preview_is_made_and_listed(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(group, "create", "shop", "api", "8080")
    listed = await api.json(group, "list", "shop")
    assert made in listed["previews"]
    assert [p["service"] for p in listed["previews"]] == ["api", "web"]
    assert made["url"] in (await api.run(group, "list", "shop")).stdout


async def test_all_previews_are_listed_with_their_environments(api: ServedApi) -> None:
    await api.rig.make_shop()
    listed = await api.json(group, "list", "shop")
    assert await api.json(group, "list") == listed
    shown = (await api.run(group, "list")).stdout.splitlines()
    assert shown[0].split() == ["ENVIRONMENT", "LEADS", "TO", "URL", "DETAIL"]
    assert shown[1].split() == ["shop", "web:8080", listed["previews"][0]["url"]]


async def test_without_previews_it_says_how_to_make_one(api: ServedApi) -> None:
    result = await api.run(group, "list")
    assert result.stderr == (
        "there is none yet: `lapdev preview create ENVIRONMENT SERVICE PORT` makes one\n"
    )


async def test_creating_prints_the_url_and_nothing_else(api: ServedApi) -> None:
    await api.rig.make_shop()
    url = (await api.run(group, "create", "shop", "api", "8080")).stdout.strip()
    (preview,) = [p for p in await api.rig.store.previews("shop") if p.service == "api"]
    assert url == f"http://{preview.label}.lapdev.localhost:8080"


async def test_creating_one_again_prints_it_again(api: ServedApi) -> None:
    await api.rig.make_shop()
    first = await api.json(group, "create", "shop", "api", "8080")
    assert await api.json(group, "create", "shop", "api", "8080") == first


async def test_how_long_its_app_may_take_is_set_on_one_that_is_there(api: ServedApi) -> None:
    await api.rig.make_shop()
    first = await api.json(group, "create", "shop", "api", "8080")
    assert first["answer_timeout"] is None
    again = await api.json(group, "create", "shop", "api", "8080", "--answer-timeout", "0")
    assert again == {**first, "answer_timeout": 0}
    assert (
        await api.run(group, "create", "shop", "api", "8080", "--answer-timeout", "-1")
    ).exit_code == 2


async def test_a_tcp_preview_is_made_and_removed_by_its_url(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(group, "create", "shop", "api", "8080", "--tcp")
    assert made["url"] == "tcp://127.0.0.1:20000"
    assert await api.json(group, "rm", made["url"]) == {"removed": made["label"]}
    again = await api.run(group, "rm", made["url"])
    assert isinstance(again.exception, LapdevError)
    assert again.exception.detail == "there is no preview tcp://127.0.0.1:20000"


async def test_a_preview_is_removed_by_url_or_label(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(group, "create", "shop", "api", "8080")
    assert (await api.run(group, "rm", made["url"] + "/")).stdout == (
        f"preview {made['label']} is removed\n"
    )
    again = await api.run(group, "rm", made["label"])
    assert isinstance(again.exception, LapdevError)


async def test_one_that_is_not_served_says_why(api: ServedApi) -> None:
    await api.rig.make_shop()
    made = await api.json(group, "create", "shop", "api", "8080", "--tcp")
    api.rig.link.problems[made["label"]] = "port 20000 is taken"
    shown = await api.run(group, "create", "shop", "api", "8080", "--tcp")
    assert shown.stdout == "tcp://127.0.0.1:20000\n"
    assert shown.stderr == "it is not served: port 20000 is taken\n"
    assert "port 20000 is taken" in (await api.run(group, "list", "shop")).stdout


async def test_a_service_that_is_not_there_is_answered_with_those_that_are(api: ServedApi) -> None:
    await api.rig.make_shop()
    result = await api.run(group, "create", "shop", "cart", "8080")
    assert isinstance(result.exception, LapdevError)
    assert result.exception.hint == "the services are: api, web"


async def test_a_port_that_is_none_is_wrong_usage(api: ServedApi) -> None:
    assert (await api.run(group, "create", "shop", "api", "70000")).exit_code == 2
    named = await api.run(group, "create", "shop", "api", "http")
    assert named.exit_code == 2
    assert "'http' is not a valid port" in named.stderr
