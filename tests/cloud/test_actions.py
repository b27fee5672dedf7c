"""Actions: what a deletion does when somebody leaves, fails or restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lapdev.errors import NotFound, TunnelClosed
from lapdev.model import EnvironmentStatus
from tests.support.api import ApiRig


async def status(rig: ApiRig, name: str = "shop") -> EnvironmentStatus:
    return (await rig.store.environment(name)).status


async def test_a_deleted_environment_is_gone_after_nothing_of_it_runs(rig: ApiRig) -> None:
    made = await rig.make_shop()
    gate = rig.link.delete_gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        deletion = group.create_task(rig.service.delete_environment("shop"))
        await rig.link.delete_began.wait()
        assert await status(rig) is EnvironmentStatus.DELETING
        assert not deletion.done()
        gate.set()
    assert await rig.store.environments() == []
    # Whoever keeps an index of previews looks again once it is gone.
    assert rig.link.taken()[-1] == ("changed", made["id"])


async def test_a_caller_who_leaves_does_not_stop_a_deletion(rig: ApiRig) -> None:
    await rig.make_shop()
    gate = rig.link.delete_gate = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await rig.service.delete_environment("shop")
    async with asyncio.TaskGroup() as group:
        again = group.create_task(rig.service.delete_environment("shop"))
        await asyncio.sleep(0)
        gate.set()
        await again
    assert await rig.store.environments() == []
    assert [name for name, _ in rig.link.calls].count("delete") == 1


async def test_a_failed_deletion_stays_marked_and_can_be_asked_again(
    rig: ApiRig, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.make_shop()
    rig.link.delete_error = TunnelClosed()
    with pytest.raises(TunnelClosed):
        await rig.service.delete_environment("shop")
    assert await status(rig) is EnvironmentStatus.DELETING
    rig.link.delete_error = None
    await rig.service.delete_environment("shop")
    assert await rig.store.environments() == []


async def test_a_deletion_that_takes_long_goes_on_and_can_be_waited_for(rig: ApiRig) -> None:
    await rig.make_shop()
    gate = rig.link.delete_gate = asyncio.Event()
    rig.service.delete_patience = 0.01
    answer = await rig.client.delete("/api/v1/environments/shop")
    assert answer.status_code == 503
    assert "still being deleted" in answer.text
    assert "delete it again" in answer.text
    assert await status(rig) is EnvironmentStatus.DELETING
    rig.service.delete_patience = 10
    gate.set()
    again = await rig.client.delete("/api/v1/environments/shop")
    assert again.status_code in (204, 404)  # it may have come to its end just before
    assert await rig.store.environments() == []
    assert [name for name, _ in rig.link.calls].count("delete") == 1


async def test_a_restart_goes_on_with_what_was_being_deleted(rig: ApiRig) -> None:
    await rig.make_shop()
    await rig.make_shop(name="kept")
    await rig.store.mark_deleting("shop")
    await rig.service.finish_deletions()
    await rig.service.delete_environment("shop")  # joins the one that runs
    assert [e.name for e in await rig.store.environments()] == ["kept"]


async def test_closing_leaves_a_deletion_for_the_next_start(rig: ApiRig) -> None:
    await rig.make_shop()
    rig.link.delete_gate = asyncio.Event()
    await rig.store.mark_deleting("shop")
    await rig.service.finish_deletions()
    await rig.link.delete_began.wait()
    await rig.service.aclose()
    assert await status(rig) is EnvironmentStatus.DELETING


async def test_deleting_ends_the_environments_intercepts(rig: ApiRig) -> None:
    await rig.make_shop()
    body = {"service": "web", "device": "mine"}
    path = "/api/v1/environments/shop/intercepts"
    made = (await rig.client.post(path, json=body)).json()
    rig.link.taken()
    await rig.service.delete_environment("shop")
    calls = rig.link.taken()
    assert ("intercept_removed", made["id"]) in calls
    assert ("intercepts_changed", "mine") in calls


async def test_a_branch_that_goes_is_told_to_its_base_before_and_after(rig: ApiRig) -> None:
    base = await rig.make_shop()
    branch = await rig.service.create_branch("shop", "fix")
    rig.link.taken()
    await rig.service.delete_environment("fix")
    id = branch.summary.environment.id
    told = [("changed", base["id"]), ("delete", id), ("changed", id), ("changed", base["id"])]
    assert rig.link.taken() == told


async def test_deleting_what_is_not_there_is_not_found(rig: ApiRig) -> None:
    with pytest.raises(NotFound):
        await rig.service.delete_environment("gone")


# Previews


async def ask(rig: ApiRig, path: str, body: object, status: int) -> Any:
    answer = await rig.client.post(f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_how_long_an_app_may_take_is_said_with_its_preview(rig: ApiRig) -> None:
    await rig.make_shop()
    path, body = "/environments/shop/previews", {"service": "web", "port": 8080}
    assert (await ask(rig, path, body, 200))["answer_timeout"] is None
    rig.link.taken()
    for seconds in (0, 86_400):
        patient = await ask(rig, path, {**body, "answer_timeout": seconds}, 200)
        assert patient["answer_timeout"] == seconds
        assert rig.link.taken() == [("previews_changed", "")], "the edge hears of it"
    for wrong in ({"answer_timeout": -1}, {"answer_timeout": 86_401}, {"answer_timeout": "long"}):
        await ask(rig, path, {**body, **wrong}, 422)
    raw = {"service": "web", "port": 9229, "tcp": True, "answer_timeout": 1}
    await ask(rig, path, raw, 422)
