"""The REST API: each call's status and shape, on a real database."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cloud.actions import EnvironmentLive
from lapdev.cloud.tokens import InterceptTokens, sha256_hex
from lapdev.model import (
    ContainerState,
    ContainerStatus,
    EnvironmentId,
    EnvironmentStatus,
    InterceptId,
    Protocol,
    Service,
    ServicePort,
    WorkloadStatus,
)
from tests.support.api import ApiRig
from tests.support.shop_manifests import deployment, service, shop

API = "/api/v1"


async def ask(rig: ApiRig, method: str, path: str, body: object = None, status: int = 200) -> Any:
    answer = await rig.client.request(method, API + path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def refused(
    rig: ApiRig, method: str, path: str, body: object = None, status: int = 400
) -> dict[str, str]:
    error: dict[str, str] = (await ask(rig, method, path, body, status))["error"]
    assert set(error) == {"cause", "detail", "hint"}
    return error


async def make_branch(rig: ApiRig) -> Any:
    await rig.make_shop()
    return await ask(rig, "POST", "/environments/shop/branches", {"name": "fix"}, 201)


async def test_clusters_show_how_they_are_connected(rig: ApiRig) -> None:
    (cluster,) = (await ask(rig, "GET", "/clusters"))["clusters"]
    assert (cluster["name"], cluster["status"]) == ("local", "provisioning")
    rig.link.connected.add("local")
    (cluster,) = (await ask(rig, "GET", "/clusters"))["clusters"]
    assert (cluster["status"], cluster["detail"]) == ("ready", "")
    rig.link.details["local"] = "no memory limits: no cgroup is ours"
    (cluster,) = (await ask(rig, "GET", "/clusters"))["clusters"]
    assert cluster["detail"] == "no memory limits: no cgroup is ours"


# Environments


async def test_an_environment_is_created_whole(rig: ApiRig) -> None:
    made: Any = await rig.make_shop()
    assert made == await ask(rig, "GET", "/environments/shop")
    assert made == await ask(rig, "GET", f"/environments/{made['id']}")
    (preview,) = made.pop("previews")
    assert preview == {
        "label": preview["label"],
        "environment": made["id"],
        "kind": "http",
        "name": "",
        "service": "web",
        "port": 8080,
        "routes": [],
        "status": "",
        "url": f"http://{preview['label']}.lapdev.localhost:8080",
        "answer_timeout": None,
    }
    web, api = made.pop("services")
    assert web["ports"][0] == {"port": 8080, "target": 3000, "name": "http", "protocol": "http"}
    assert api["name"] == "api"
    assert made == {
        "id": made["id"],
        "name": "shop",
        "kind": "shared",
        "cluster": "local",
        "namespace": made["namespace"],
        "base": None,
        "generation": made["generation"],
        "status": "pending",
        "detail": "",
        "changed": [],
        "workloads": [],
        "branches": [],
        "intercepts": [],
    }
    assert rig.link.taken() == [("changed", made["id"])]


DONE = ContainerStatus("web-x", "app", ContainerState.DONE, 1, "exit code 0")


async def test_what_runs_is_what_the_manager_reported(rig: ApiRig) -> None:
    made = await rig.make_shop()
    rig.link.live[EnvironmentId(str(made["id"]))] = EnvironmentLive(
        EnvironmentStatus.STARTING,
        "1 of 2 workloads ready",
        (
            WorkloadStatus(
                "web",
                2,
                1,
                restarts=3,
                detail="x",
                routes_generation=7,
                containers=(
                    ContainerStatus("web-x", "app", ContainerState.DONE, 1, "exit code 0"),
                ),
            ),
            WorkloadStatus("seed", 1, 1, 0, "", 0, "Job", 1, "gave up", "seed: exit code 1"),
        ),
        (Service("web", {}, (ServicePort(8080, "http", "http", Protocol.HTTP),)),),
    )
    found = await ask(rig, "GET", "/environments/shop")
    assert (found["status"], found["detail"]) == ("starting", "1 of 2 workloads ready")
    assert found["workloads"] == [
        {
            "name": "web",
            "wanted": 2,
            "ready": 1,
            "restarts": 3,
            "detail": "x",
            "routes_generation": 7,
            "kind": "Deployment",
            "succeeded": 0,
            "failed": "",
            "last_exit": "",
            "containers": [
                {
                    "pod": "web-x",
                    "name": "app",
                    "state": "done",
                    "restarts": 1,
                    "last_exit": "exit code 0",
                }
            ],
        },
        {
            "name": "seed",
            "wanted": 1,
            "ready": 1,
            "restarts": 0,
            "detail": "",
            "routes_generation": 0,
            "kind": "Job",
            "succeeded": 1,
            "failed": "gave up",
            "last_exit": "seed: exit code 1",
            "containers": [],
        },
    ]
    assert [s["name"] for s in found["services"]] == ["web"]
    (listed,) = (await ask(rig, "GET", "/environments"))["environments"]
    assert listed["status"] == "starting"


async def test_a_kubernetes_list_is_as_good_as_its_items(rig: ApiRig) -> None:
    body = {"name": "shop", "manifests": [{"kind": "List", "items": shop()}]}
    assert len((await ask(rig, "POST", "/environments", body, 201))["services"]) == 2


@pytest.mark.parametrize(
    ("change", "status", "cause", "words"),
    [
        ({"name": "My Shop"}, 422, "bad_config", "environment name 'My Shop'"),
        ({"name": "shop\n"}, 422, "bad_config", "not a DNS label"),
        ({"cluster": "moon"}, 404, "not_found", "no cluster 'moon'"),
        ({"manifests": []}, 422, "bad_config", "nothing to run"),
        ({"manifests": [service("web")]}, 422, "bad_config", "nothing to run"),
        ({"manifests": [{"kind": "Pod"}]}, 422, "bad_config", "has no name"),
        ({"manifests": [deployment("a"), deployment("a")]}, 422, "bad_config", "there twice"),
        ({"manifests": [deployment("a.b")]}, 422, "bad_config", "is not a name"),
        ({"manifests": {}}, 422, "bad_request", "body.manifests"),
        ({"kind": "branch"}, 422, "bad_request", "body.kind"),
        ({"name": 7}, 422, "bad_request", "body.name"),
        ({"unknown": 1}, 422, "bad_request", "body.unknown"),
    ],
)
async def test_a_wrong_environment_is_refused_by_name_and_leaves_nothing(
    rig: ApiRig, change: dict[str, Any], status: int, cause: str, words: str
) -> None:
    body = {"name": "shop", "kind": "shared", "manifests": shop(), **change}
    error = await refused(rig, "POST", "/environments", body, status)
    assert error["cause"] == cause
    assert words in error["detail"]
    assert await rig.store.environments() == []
    assert rig.link.taken() == []


async def test_no_junk_in_a_manifest_is_an_internal_error(rig: ApiRig) -> None:
    junk = [None, 7, "x", [], [[]], {}, {"name": []}, {"template": []}, True]
    for item in (deployment("web"), service("web")):
        for place in ("metadata", "spec", "kind"):
            for value in junk:
                body = {"name": "shop", "manifests": [{**item, place: value}]}
                answer = await rig.client.post(API + "/environments", json=body)
                assert answer.status_code == 422, (body, answer.text)


async def test_the_cluster_may_be_left_out_only_while_there_is_one(rig: ApiRig) -> None:
    await rig.store.ensure_cluster("second", "d" * 64)
    body = {"name": "shop", "manifests": shop()}
    error = await refused(rig, "POST", "/environments", body, 422)
    assert error["hint"] == "name one of: local, second"
    made = await ask(rig, "POST", "/environments", {**body, "cluster": "second"}, 201)
    assert made["cluster"] == "second"


async def test_a_taken_name_is_a_conflict(rig: ApiRig) -> None:
    await rig.make_shop()
    body = {"name": "shop", "manifests": shop()}
    assert (await refused(rig, "POST", "/environments", body, 409))["cause"] == "conflict"


async def test_an_unknown_environment_is_404(rig: ApiRig) -> None:
    for ref in ("gone", "%00", "%ff", "..%2f..%2fetc", "%F0%9F%98%80", "a" * 4000):
        error = await refused(rig, "GET", f"/environments/{ref}", status=404)
        assert error["cause"] == "not_found"


# Branches


async def test_a_branch_belongs_to_its_base_and_has_urls_of_its_own(rig: ApiRig) -> None:
    made = await make_branch(rig)
    base = await ask(rig, "GET", "/environments/shop")
    assert (made["base"], made["kind"]) == ("shop", "branch")
    assert made["namespace"] == base["namespace"]
    assert base["branches"] == ["fix"]
    assert [p["service"] for p in made["previews"]] == ["web"]
    assert made["previews"][0]["url"] != base["previews"][0]["url"]
    assert made["generation"] == base["generation"]
    assert rig.link.taken()[-2:] == [("changed", made["id"]), ("changed", base["id"])]


async def test_a_patch_and_a_reset_of_a_workload(rig: ApiRig) -> None:
    await make_branch(rig)
    path = "/environments/fix/workloads/api"
    patched = await ask(rig, "PUT", path, {"patch": {"": {"env": {"A": "1"}, "image": "shop:2"}}})
    assert patched["changed"] == ["api"]
    again = await ask(rig, "PUT", path, {"patch": {"api": {"env": {"B": "2"}}}})
    assert again["generation"] > patched["generation"]
    (own,) = (await rig.store.environment("fix")).manifests
    (container,) = own["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "shop:2"
    assert [v["name"] for v in container["env"]] == ["A", "B"]
    assert (await ask(rig, "DELETE", path))["changed"] == []
    assert (await ask(rig, "DELETE", path))["changed"] == []


async def test_a_whole_manifest_takes_a_workloads_place(rig: ApiRig) -> None:
    await make_branch(rig)
    body = {"manifest": deployment("api", image="mine:7")}
    await ask(rig, "PUT", "/environments/fix/workloads/api", body)
    assert (await rig.store.environment("fix")).manifests == (body["manifest"],)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("fix/workloads/cart", {"patch": {"": {"image": "x"}}}, 404, "no workload 'cart'"),
        ("fix/workloads/api", {"patch": {"x": {"image": "x"}}}, 422, "no such container"),
        ("fix/workloads/api", {"patch": {"": {"ports": []}}}, 422, "cannot be changed"),
        ("fix/workloads/api", {"patch": {"": 7}}, 422, "body.patch"),
        ("fix/workloads/api", {}, 422, "either manifest or patch"),
        ("fix/workloads/api", {"patch": {}, "manifest": {}}, 422, "either manifest or patch"),
        ("fix/workloads/api", {"manifest": deployment("web")}, 422, "not one workload"),
        ("shop/workloads/api", {"patch": {"": {"image": "x"}}}, 422, "not a branch"),
        ("gone/workloads/api", {"patch": {"": {"image": "x"}}}, 404, "no environment 'gone'"),
    ],
)
async def test_a_wrong_change_is_refused_by_name(
    rig: ApiRig, path: str, body: object, status: int, words: str
) -> None:
    await make_branch(rig)
    error = await refused(rig, "PUT", f"/environments/{path}", body, status)
    assert words in error["detail"]
    assert (await rig.store.environment("fix")).manifests == ()


async def test_a_branch_of_a_branch_is_refused(rig: ApiRig) -> None:
    await make_branch(rig)
    error = await refused(rig, "POST", "/environments/fix/branches", {"name": "b"}, 422)
    assert "cannot have branches" in error["detail"]


# Deleting


async def test_a_shared_environment_with_branches_is_a_conflict_that_names_them(
    rig: ApiRig,
) -> None:
    await make_branch(rig)
    error = await refused(rig, "DELETE", "/environments/shop", status=409)
    assert error["detail"] == "shop has branches: fix"
    assert await ask(rig, "DELETE", "/environments/fix", status=204) is None
    assert await ask(rig, "DELETE", "/environments/shop", status=204) is None
    assert (await ask(rig, "GET", "/environments"))["environments"] == []


# Previews


async def test_a_preview_is_made_for_a_port_that_exists(rig: ApiRig) -> None:
    made = await make_branch(rig)
    rig.link.taken()
    path = "/environments/fix/previews"
    preview = await ask(rig, "POST", path, {"service": "api", "port": 8080}, 201)
    assert preview["environment"] == made["id"]
    assert preview in (await ask(rig, "GET", path))["previews"]
    assert rig.link.taken() == [("previews_changed", "")]
    assert await ask(rig, "POST", path, {"service": "api", "port": 8080}, 200) == preview
    assert rig.link.taken() == []


async def test_a_raw_tcp_preview_says_where_to_connect_and_whether_somebody_listens(
    rig: ApiRig,
) -> None:
    await rig.make_shop()
    path = "/environments/shop/previews"
    body = {"service": "web", "port": 9229, "tcp": True}
    preview = await ask(rig, "POST", path, body, 201)
    assert (preview["kind"], preview["url"]) == ("tcp", "tcp://127.0.0.1:20000")
    assert preview["status"] == ""
    rig.link.problems[preview["label"]] = "port 20000 is taken"
    listed = (await ask(rig, "GET", path))["previews"]
    assert {p["status"] for p in listed} == {"", "port 20000 is taken"}
    assert (await ask(rig, "POST", path, body, 200))["label"] == preview["label"]


async def test_a_removed_preview_is_gone(rig: ApiRig) -> None:
    made: Any = await rig.make_shop()
    (preview,) = made["previews"]
    rig.link.taken()
    assert await ask(rig, "DELETE", f"/previews/{preview['label']}", status=204) is None
    assert rig.link.taken() == [("previews_changed", "")]
    assert (await ask(rig, "GET", "/environments/shop/previews"))["previews"] == []
    error = await refused(rig, "DELETE", f"/previews/{preview['label']}", status=404)
    assert "lapdev preview list" in error["hint"]


WRONG_PREVIEWS = [
    ({"service": "api", "port": 1}, 404),
    ({"service": "cart", "port": 8080}, 404),
    ({"service": "web", "port": 8080, "tcp": "yes"}, 422),
    ({"service": "web", "port": 0}, 422),
    ({"service": "web", "port": 65536}, 422),
    ({"service": "web", "port": "8080"}, 422),
    ({"service": "web", "port": True}, 422),
    ({"service": "web", "port": 8080.0}, 422),
    ({"service": "web"}, 422),
]


async def test_a_preview_of_anything_else_is_refused(rig: ApiRig) -> None:
    await rig.make_shop()
    for body, status in WRONG_PREVIEWS:
        await refused(rig, "POST", "/environments/shop/previews", body, status)


# Intercepts


async def test_an_intercept_is_made_for_the_workload_behind_a_service(rig: ApiRig) -> None:
    branch = await make_branch(rig)
    rig.link.taken()
    body = {
        "service": "web",
        "device": "laptop-1",
        "ports": [{"service_port": 8080, "local_port": 3001}],
    }
    made = await ask(rig, "POST", "/environments/fix/intercepts", body, 201)
    assert made == {
        "id": made["id"],
        "environment": branch["id"],
        "service": "web",
        "workload": "web",
        "device": "laptop-1",
        "device_connected": False,
        "ports": [{"service_port": 8080, "local_port": 3001}],
        "include_branches": False,
    }
    base = await rig.store.environment("shop")
    assert rig.link.taken() == [
        ("changed", branch["id"]),
        ("changed", base.id),
        ("intercepts_changed", "laptop-1"),
    ]
    token = InterceptTokens("key").token(InterceptId(made["id"]))
    by_token = await rig.store.intercept_by_token(sha256_hex(token))
    assert by_token is not None
    assert by_token.id == made["id"]


async def test_intercepts_are_listed_by_environment_and_by_device(rig: ApiRig) -> None:
    await rig.make_shop()
    rig.link.connected.add("mine")
    for name, device in (("web", "mine"), ("api", "other")):
        body = {"service": name, "device": device}
        await ask(rig, "POST", "/environments/shop/intercepts", body, 201)
    everything = (await ask(rig, "GET", "/intercepts"))["intercepts"]
    assert [i["service"] for i in everything] == ["web", "api"]
    assert [i["device_connected"] for i in everything] == [True, False]
    mine = (await ask(rig, "GET", "/intercepts?device=mine"))["intercepts"]
    assert mine == everything[:1]
    of_shop = (await ask(rig, "GET", "/environments/shop/intercepts"))["intercepts"]
    assert of_shop == everything
    assert (await ask(rig, "GET", "/environments/shop"))["intercepts"] == everything


async def test_a_removed_intercept_is_told_to_everyone(rig: ApiRig) -> None:
    made: Any = await rig.make_shop()
    body = {"service": "web", "device": "mine"}
    intercept = await ask(rig, "POST", "/environments/shop/intercepts", body, 201)
    rig.link.taken()
    path = f"/intercepts/{intercept['id']}"
    assert await ask(rig, "DELETE", path, status=204) is None
    assert rig.link.taken() == [
        ("changed", made["id"]),
        ("intercept_removed", intercept["id"]),
        ("intercepts_changed", "mine"),
    ]
    await refused(rig, "DELETE", path, status=404)


WRONG_INTERCEPTS: list[tuple[dict[str, Any], int]] = [
    ({"service": "cart"}, 404),
    ({"ports": [{"service_port": 1, "local_port": 1}]}, 404),
    ({"ports": [{"service_port": 8080, "local_port": 0}]}, 422),
    ({"ports": [{"service_port": 8080, "local_port": n} for n in (1, 2)]}, 422),
    ({"device": ""}, 422),
    ({"device": "a b"}, 422),
    ({"device": "a\n"}, 422),
    ({"device": "x" * 65}, 422),
    ({"include_branches": "yes"}, 422),
]


async def test_a_wrong_intercept_is_refused(rig: ApiRig) -> None:
    await rig.make_shop()
    for change, status in WRONG_INTERCEPTS:
        body = {"service": "web", "device": "mine", **change}
        await refused(rig, "POST", "/environments/shop/intercepts", body, status)
    assert await rig.store.intercepts() == []


async def test_a_second_intercept_of_a_workload_names_the_first(rig: ApiRig) -> None:
    await rig.make_shop()
    path = "/environments/shop/intercepts"
    first = await ask(rig, "POST", path, {"service": "web", "device": "mine"}, 201)
    error = await refused(rig, "POST", path, {"service": "web", "device": "other"}, 409)
    assert "device mine" in error["detail"]
    assert first["id"] in error["hint"]


# The schema


async def test_the_schema_lists_every_call_and_the_credential(rig: ApiRig) -> None:
    schema = await ask(rig, "GET", "/openapi.json")
    calls = {(m.upper(), p) for p, methods in schema["paths"].items() for m in methods}
    assert calls == {
        ("GET", "/api/v1/clusters"),
        ("GET", "/api/v1/environments"),
        ("POST", "/api/v1/environments"),
        ("PUT", "/api/v1/environments/{name}"),
        ("GET", "/api/v1/environments/{ref}"),
        ("GET", "/api/v1/environments/{ref}/logs"),
        ("DELETE", "/api/v1/environments/{ref}"),
        ("POST", "/api/v1/environments/{ref}/branches"),
        ("PUT", "/api/v1/environments/{branch}/workloads/{workload}"),
        ("DELETE", "/api/v1/environments/{branch}/workloads/{workload}"),
        ("GET", "/api/v1/environments/{ref}/previews"),
        ("POST", "/api/v1/environments/{ref}/previews"),
        ("DELETE", "/api/v1/previews/{label}"),
        ("GET", "/api/v1/environments/{ref}/intercepts"),
        ("POST", "/api/v1/environments/{ref}/intercepts"),
        ("GET", "/api/v1/intercepts"),
        ("DELETE", "/api/v1/intercepts/{id}"),
    }
    assert schema["security"] == [{"token": []}]
    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
