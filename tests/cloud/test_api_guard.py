"""Who may call, and the one shape of errors."""

from __future__ import annotations

import httpx
import pytest

from lapdev.errors import StoreError
from tests.support.api import TOKEN, ApiRig

PATHS = ["/api/v1/clusters", "/api/v1/openapi.json", "/api/v1/nowhere", "/nowhere", "/docs"]
VALUES = [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", f"Token {TOKEN}", TOKEN]


def assert_error(answer: httpx.Response, status: int, cause: str) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["lapdev-error"] == f"{cause}; hop=cloud"
    body = answer.json()
    assert list(body) == ["error"]
    assert body["error"]["cause"] == cause
    assert set(body["error"]) == {"cause", "detail", "hint"}
    assert body["error"]["detail"]
    error: dict[str, str] = body["error"]
    return error


async def test_nothing_answers_without_a_valid_token(rig: ApiRig) -> None:
    del rig.client.headers["authorization"]
    for path in PATHS:
        for value in VALUES:
            headers = {} if value is None else {"authorization": value}
            answer = await rig.client.get(path, headers=headers)
            assert_error(answer, 401, "login_required")
            assert answer.headers["www-authenticate"] == 'Bearer realm="lapdev"'


async def test_two_credentials_are_none(rig: ApiRig) -> None:
    headers = [("authorization", f"Bearer {TOKEN}")] * 2
    del rig.client.headers["authorization"]
    assert (await rig.client.get("/api/v1/clusters", headers=headers)).status_code == 401


async def test_a_token_of_strange_bytes_is_only_wrong(rig: ApiRig) -> None:
    headers = {b"authorization": b"Bearer \xff\xfe\x00"[:9]}
    assert (await rig.client.get("/api/v1/clusters", headers=headers)).status_code == 401


async def test_the_scheme_is_case_insensitive(rig: ApiRig) -> None:
    headers = {"authorization": f"bearer {TOKEN}"}
    assert (await rig.client.get("/api/v1/clusters", headers=headers)).status_code == 200


@pytest.mark.parametrize("name", ["token", "access_token", "Token", "api_key", "authorization"])
async def test_a_credential_in_the_query_is_400_even_beside_a_valid_one(
    rig: ApiRig, name: str
) -> None:
    answer = await rig.client.get(f"/api/v1/clusters?{name}={TOKEN}")
    error = assert_error(answer, 400, "bad_request")
    assert TOKEN not in answer.text
    assert "Authorization: Bearer" in error["hint"]


async def test_another_sites_page_is_refused(rig: ApiRig) -> None:
    answer = await rig.client.post("/api/v1/environments", headers={"sec-fetch-site": "cross-site"})
    assert_error(answer, 403, "forbidden")


async def test_a_method_override_header_is_ignored(rig: ApiRig) -> None:
    await rig.make_shop()
    override = {"x-http-method-override": "DELETE"}
    assert (await rig.client.get("/api/v1/environments/shop", headers=override)).is_success
    assert (await rig.client.get("/api/v1/environments/shop")).is_success


async def test_an_unknown_path_is_404(rig: ApiRig) -> None:
    assert_error(await rig.client.get("/api/v1/nowhere"), 404, "not_found")
    assert_error(await rig.client.get("/api/v1/clusters/"), 404, "not_found")
    assert_error(await rig.client.get("/openapi.json"), 404, "not_found")


async def test_a_wrong_method_is_405_and_says_which_are_right(rig: ApiRig) -> None:
    answer = await rig.client.put("/api/v1/clusters")
    assert_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


async def test_a_wrong_field_is_named_and_its_value_is_not_shown(rig: ApiRig) -> None:
    body = {"name": 1, "kind": "branch", "manifests": ["hunter2"], "extra": 0}
    answer = await rig.client.post("/api/v1/environments", json=body)
    error = assert_error(answer, 422, "bad_request")
    assert "body.name" in error["detail"]
    assert "body.kind" in error["detail"]
    assert "and 1 more" in error["detail"]
    assert "hunter2" not in answer.text


async def test_a_bug_is_an_error_of_the_same_shape_that_tells_nothing(
    rig: ApiRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(label: str) -> str:
        raise ZeroDivisionError("hunter2")

    await rig.make_shop()
    rig.service.preview_url = fail
    answer = await rig.client.get("/api/v1/environments/shop")
    assert_error(answer, 500, "internal_error")
    assert "hunter2" not in answer.text


async def test_a_store_that_fails_during_the_check_is_an_error_not_an_entrance(
    rig: ApiRig,
) -> None:
    async with rig.store._database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE api_tokens")
    answer = await rig.client.get("/api/v1/clusters")
    assert_error(answer, StoreError.status, "store_error")
