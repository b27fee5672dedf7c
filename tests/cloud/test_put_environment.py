"""`PUT /environments/{name}`: the same objects again change nothing, other ones what they must."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.cloud.test_api import API, ask, refused
from tests.support.api import ApiRig
from tests.support.shop_manifests import configured, deployment, ingress, service, shop

SHOP = "/environments/shop"


def body(*objects: Any, **more: Any) -> dict[str, Any]:
    return {"manifests": list(objects) or shop(), **more}


async def test_a_new_one_is_made_and_the_same_again_changes_nothing(rig: ApiRig) -> None:
    made = await ask(rig, "PUT", SHOP, body(kind="personal"), 201)
    objects = ["Deployment/web", "Deployment/api", "Service/web", "Service/api"]
    nothing: dict[str, list[str]] = {"created": [], "changed": [], "removed": [], "unchanged": []}
    assert made["changes"] == {**nothing, "created": objects}
    assert (made["kind"], made["ignored"]) == ("personal", [])
    assert rig.link.taken() == [("changed", made["id"])]
    for kind in ({"kind": "personal"}, {}):
        again = await ask(rig, "PUT", SHOP, body(**kind), 200)
        assert again == {**made, "changes": {**nothing, "unchanged": objects}}
    assert rig.link.taken() == []
    assert await ask(rig, "GET", SHOP) == {
        name: value for name, value in made.items() if name not in ("changes", "ignored")
    }


async def test_each_object_is_told_by_what_became_of_it(rig: ApiRig) -> None:
    first = await ask(rig, "PUT", SHOP, body(), 201)
    rig.link.taken()
    objects = [deployment("web", image="shop:2"), *shop()[2:], deployment("api"), service("new")]
    objects[-1]["spec"]["selector"] = {"app": "web"}
    put = await ask(rig, "PUT", SHOP, body(*objects))
    assert put["changes"]["changed"] == ["Deployment/web"]
    assert put["changes"]["created"] == ["Service/new"]
    assert put["changes"]["removed"] == []
    assert put["generation"] > first["generation"]
    assert put["previews"] == first["previews"], "their labels never change"
    assert rig.link.taken() == [("changed", first["id"])]
    gone = await ask(rig, "PUT", SHOP, body(*shop()[:1]))
    assert set(gone["changes"]["removed"]) == {
        "Deployment/api",
        "Service/web",
        "Service/api",
        "Service/new",
    }
    assert gone["previews"] == []


async def test_previews_follow_marks_and_ingresses_in_branches_too(rig: ApiRig) -> None:
    await ask(rig, "PUT", SHOP, body(), 201)
    await ask(rig, "POST", f"{SHOP}/branches", {"name": "fix"}, 201)
    pages = ingress("pages", ("/", "web", 8080), ("/api", "api", 8080))
    put = await ask(rig, "PUT", SHOP, body(*shop(), pages))
    for ref in ("shop", "fix"):
        found = (await ask(rig, "GET", f"/environments/{ref}/previews"))["previews"]
        (named,) = [preview for preview in found if preview["name"]]
        assert named["label"].startswith("pages-")
        assert [(route["path"], route["service"]) for route in named["routes"]] == [
            ("/api", "api"),
            ("/", "web"),
        ]
    assert len(put["previews"]) == 2
    rig.link.taken()
    await ask(rig, "PUT", SHOP, body())
    assert len(rig.link.taken()) == 2, "the branch's previews changed as well"
    assert len((await ask(rig, "GET", "/environments/fix/previews"))["previews"]) == 1


async def test_a_preview_made_by_hand_stays_and_a_removed_marked_one_comes_back(
    rig: ApiRig,
) -> None:
    made = await ask(rig, "PUT", SHOP, body(), 201)
    hand = await ask(rig, "POST", f"{SHOP}/previews", {"service": "api", "port": 8080}, 201)
    await ask(rig, "DELETE", f"/previews/{made['previews'][0]['label']}", status=204)
    put = await ask(rig, "PUT", SHOP, body())
    assert put["generation"] == made["generation"]
    assert hand in put["previews"]
    assert [p["service"] for p in put["previews"]] == ["api", "web"]


async def test_objects_that_do_nothing_here_are_named(rig: ApiRig) -> None:
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": {}}
    put = await ask(rig, "PUT", SHOP, body(*shop(), policy), 201)
    assert put["ignored"] == ["NetworkPolicy/deny"]
    assert "NetworkPolicy/deny" in put["changes"]["created"]


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_reference_to_what_is_not_there_is_refused_by_name(
    rig: ApiRig, method: str
) -> None:
    web = deployment("web")
    (container,) = web["spec"]["template"]["spec"]["containers"]
    container["envFrom"] = [{"secretRef": {"name": "passwords"}}]
    path, more = (SHOP, {}) if method == "PUT" else ("/environments", {"name": "shop"})
    error = await refused(rig, method, path, body(web, **more), 422)
    assert "Secret/passwords" in error["detail"]
    assert await rig.store.environments() == []
    lost = ingress("pages", ("/", "cart", 80))
    error = await refused(rig, method, path, body(*shop(), lost, **more), 422)
    assert "Service cart" in error["detail"]


async def test_a_secrets_content_is_in_no_answer(rig: ApiRig) -> None:
    secret = configured("Secret", "passwords", admin="hunter2-plain")
    secret["data"] = {"token": "aHVudGVyMi1jb2RlZA=="}
    answers = [await ask(rig, "PUT", SHOP, body(*shop(), secret), 201)]
    await ask(rig, "POST", f"{SHOP}/branches", {"name": "fix"}, 201)
    paths = ("/environments", SHOP, "/environments/fix", f"{SHOP}/previews", "/clusters")
    answers += [await ask(rig, "GET", path) for path in paths]
    secret["data"] = {"token": "hunter2-broken base64"}
    answers.append(await refused(rig, "PUT", SHOP, body(*shop(), secret), 422))
    secret["data"] = {"token": ["hunter2-list"]}
    answers.append(await refused(rig, "PUT", SHOP, body(*shop(), secret), 422))
    text = json.dumps(answers)
    assert "hunter2" not in text
    assert "aHVudGVy" not in text
    assert "Secret/passwords" in text


async def test_puts_at_the_same_time_leave_one_of_them_whole(rig: ApiRig) -> None:
    wanted = [body(deployment("web", image=f"shop:{number}")) for number in range(6)]
    answers = await asyncio.gather(*(rig.client.put(API + SHOP, json=item) for item in wanted))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    (stored,) = (await rig.store.environment("shop")).manifests
    last = max(answers, key=lambda answer: int(answer.json()["generation"]))
    sent = json.loads(last.request.content)["manifests"]
    assert [stored] == sent


@pytest.mark.parametrize(
    ("path", "change", "status", "words"),
    [
        (SHOP, {"kind": "personal"}, 409, "is a shared environment"),
        ("/environments/fix", {}, 409, "fix is a branch"),
        (SHOP, {"cluster": "second"}, 409, "in another cluster"),
        (SHOP, {"cluster": "moon"}, 404, "no cluster 'moon'"),
        ("/environments/My%20Shop", {"cluster": "local"}, 422, "not a DNS label"),
        ("/environments/new", {}, 422, "no cluster is named"),
        (SHOP, {"manifests": []}, 422, "nothing to run"),
        (SHOP, {"manifests": [{"kind": "Widget", "metadata": {"name": "w"}}]}, 422, "Widget"),
        (SHOP, {"kind": "branch"}, 422, "body.kind"),
        (SHOP, {"name": "shop"}, 422, "body.name"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    rig: ApiRig, path: str, change: dict[str, Any], status: int, words: str
) -> None:
    await ask(rig, "PUT", SHOP, body(), 201)
    await ask(rig, "POST", f"{SHOP}/branches", {"name": "fix"}, 201)
    await rig.store.ensure_cluster("second", "d" * 64)
    before = await rig.store.revision()
    rig.link.taken()
    error = await refused(rig, "PUT", path, {**body(), **change}, status)
    assert words in error["detail"]
    assert error["hint"]
    assert await rig.store.revision() == before
    assert rig.link.taken() == []


async def test_one_that_is_being_deleted_is_a_conflict(rig: ApiRig) -> None:
    await ask(rig, "PUT", SHOP, body(), 201)
    await rig.store.mark_deleting("shop")
    assert "being deleted" in (await refused(rig, "PUT", SHOP, body(), 409))["detail"]


async def test_a_branchs_version_of_a_workload_that_is_gone_can_be_reset(rig: ApiRig) -> None:
    await ask(rig, "PUT", SHOP, body(), 201)
    await ask(rig, "POST", f"{SHOP}/branches", {"name": "fix"}, 201)
    path = "/environments/fix/workloads/api"
    await ask(rig, "PUT", path, {"patch": {"": {"image": "shop:2"}}})
    await ask(rig, "PUT", SHOP, body(*shop()[:1]))
    assert (await ask(rig, "GET", "/environments/fix"))["changed"] == ["api"]
    assert (await ask(rig, "DELETE", path))["changed"] == []
