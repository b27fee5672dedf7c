"""`lapdev down`: what goes, what stays, and that once more does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.client.down import down, names_of
from lapdev.client.environments import group
from lapdev.errors import Conflict
from tests.support.served_api import ServedApi

COMPOSE = "services: {web: {image: x, command: sleep inf}}\n"


async def test_what_is_named_goes_and_once_more_says_so(api: ServedApi) -> None:
    await api.rig.make_shop()
    await api.rig.make_shop("other")
    gone = await api.run(down, "shop")
    assert (gone.exit_code, gone.stdout) == (0, "shop is deleted\n")
    assert gone.stderr == "shop: stopping its workloads\n"
    again = await api.run(down, "shop")
    assert (again.exit_code, again.stdout) == (
        0,
        "shop: nothing to do, there is no such environment\n",
    )
    assert [e.name for e in await api.rig.store.environments()] == ["other"]


async def test_a_file_stands_for_the_environment_that_up_makes_of_it(
    api: ServedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "votes"
    folder.mkdir()
    (folder / "compose.yaml").write_text(COMPOSE)
    for words in ([str(folder / "compose.yaml")], [str(folder)], []):
        await api.rig.make_shop("votes")
        monkeypatch.chdir(folder)
        assert await api.json(down, *words) == {"deleted": ["votes"], "server_ended": False}


async def test_branches_are_named_or_stay(api: ServedApi) -> None:
    await api.rig.make_shop()
    await api.json(group, "branch", "shop", "fix")
    refused = await api.run(down, "shop")
    assert isinstance(refused.exception, Conflict)
    assert refused.exception.hint == "`lapdev down shop fix` deletes them, too"
    assert (await api.json(down, "shop", "fix"))["deleted"] == ["fix", "shop"]


async def test_all_is_every_environment(api: ServedApi) -> None:
    await api.rig.make_shop()
    await api.rig.make_shop("other")
    await api.json(group, "branch", "shop", "fix")
    assert (await api.json(down, "--all"))["deleted"] == ["fix", "other", "shop"]
    assert (await api.run(down, "--all")).stdout == "there is no environment\n"
    assert (await api.run(down, "--all", "shop")).exit_code == 2


async def test_without_a_server_nothing_is_there(api: ServedApi) -> None:
    result = await api.run(down, "shop", LAPDEV_SERVER="")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "shop: nothing to do, there is no such environment\n"


def test_what_is_an_environment_and_a_folder_is_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop").mkdir()
    Path("shop", "compose.yaml").write_text("name: other\n" + COMPOSE)
    assert names_of(["shop"], [{"name": "shop"}]) == {"shop"}
    assert names_of(["shop"], []) == {"other"}
    assert names_of(["shop", "x"], [{"name": "shop"}]) == {"shop", "x"}
