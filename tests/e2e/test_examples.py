"""The examples of docs/examples, run as their first lines say, by `lapdev up`, looked at by URL."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.server_process import ServerProcess, server_process

EXAMPLES = needs.PROJECT / "docs" / "examples"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    needs.userns()
    for tool in ("redis-server", "redis-cli", "psql"):
        needs.tool(tool)
    with server_process() as running:
        yield running


def up(server: ServerProcess, *words: str, cwd: Path = EXAMPLES) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.lapdev("up", "--json", *words, cwd=cwd))
    return found


def url_of(found: dict[str, Any], service: str) -> str:
    return next(str(p["url"]) for p in found["previews"] if p["service"] == service)


def shows(server: ServerProcess, url: str, text: str) -> bool:
    answer = server.get(url)
    return answer.status == 200 and text in answer.body


def down(server: ServerProcess, name: str) -> None:
    server.lapdev("down", name)
    assert name not in [e["name"] for e in server.api("GET", "/environments")["environments"]]


def test_votes_are_counted_by_the_worker_and_shown(server: ServerProcess) -> None:
    found = up(server, "votes")
    vote, result = url_of(found, "vote"), url_of(found, "result")
    assert shows(server, vote, "Cats or dogs?")
    for _ in range(3):
        assert server.get(vote, method="POST", data=b"vote=cats").status == 200
    server.wait(lambda: shows(server, result, "cats: 3"), "three votes are counted")
    assert [line["text"] for line in logs(server, "votes", "worker")][-1] == "counted cats"
    down(server, "votes")


def logs(server: ServerProcess, environment: str, container: str) -> list[dict[str, Any]]:
    printed = server.lapdev("env", "logs", environment, "--container", container, "--json")
    return [json.loads(line) for line in printed.splitlines()]


def test_a_blog_is_migrated_once_and_served_by_path(server: ServerProcess) -> None:
    found = up(server, "blog")
    (preview,) = found["previews"]
    url = preview["url"]
    assert shows(server, url, "<title>My blog</title>")
    assert json.loads(server.get(f"{url}/api/posts").body) == {"path": "/api/posts", "posts": []}
    assert shows(server, f"{url}/apis", "<title>My blog</title>"), "another path is the web's"
    key = (EXAMPLES / "blog" / "key.txt").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    assert server.get(url, method="POST", data=b"First", headers=headers).status == 200
    assert shows(server, url, "<p>First</p>")
    migrated = [line for line in logs(server, "blog", "migrate") if "migrated" in line["text"]]
    assert len(migrated) == 1
    # What was written outlives pods, and a manager.
    (manager,) = server.of_role("manager")
    os.kill(manager, signal.SIGKILL)
    server.wait(lambda: shows(server, url, "<p>First</p>"), "the blog is back")
    # Another profile adds a service and leaves the others alone.
    changed = up(server, "blog", "--profile", "demo")
    server.wait(lambda: shows(server, url, "Hello"), "the seed has run")
    assert changed["changes"]["changed"] == ["Deployment/blog"]
    down(server, "blog")


def test_tickets_run_from_their_dockerfile_with_a_raw_port_to_the_database(
    server: ServerProcess,
) -> None:
    found = up(server, "tickets")
    web = url_of(found, "web")
    assert server.get(web).body == "ticket 1, cached: True\n"
    assert server.get(web).body == "ticket 2, cached: True\n"
    raw = next(p["url"] for p in found["previews"] if p["service"] == "db")
    host, _, port = raw.removeprefix("tcp://").partition(":")
    psql = shutil.which("psql")
    assert psql
    import subprocess

    asked = [psql, "-h", host, "-p", port, "-U", "postgres", "-qtA", "-c", "SELECT 6*7"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "42\n"
    down(server, "tickets")


def test_the_guestbook_writes_to_its_leader_and_reads_from_followers(
    server: ServerProcess,
) -> None:
    found = up(server, "guestbook.yaml", cwd=EXAMPLES / "guestbook")
    url = url_of(found, "frontend")
    assert server.get(url, method="POST", data=b"entry=Ada").status == 200
    server.wait(lambda: shows(server, url, "<p>Ada</p>"), "the followers have it")
    ready = {w["name"]: w["ready"] for w in found["workloads"]}
    assert ready == {"redis-leader": 1, "redis-follower": 2, "frontend": 3}
    down(server, "guestbook")


def test_the_shop_runs_everything_kubernetes_tutorials_use(server: ServerProcess) -> None:
    found = up(server, "shop.yaml", "--name", "store", cwd=EXAMPLES / "shop")
    kinds = {w["name"]: w["kind"] for w in found["workloads"]}
    assert (kinds["db"], kinds["migrate"], kinds["report"]) == ("StatefulSet", "Job", "CronJob")
    (preview,) = found["previews"]
    shop = json.loads(server.get(preview["url"] + "/").body)
    assert [call["name"] for call in shop["calls"]] == ["catalog", "cart", "checkout"]
    assert shop["calls"][0]["goods"] == ["lamp", "chair"]
    assert shop["calls"][2]["calls"][0]["currency"] == "EUR"
    assert json.loads(server.get(preview["url"] + "/goods").body)["name"] == "catalog"
    again = up(server, "shop.yaml", "--name", "store", cwd=EXAMPLES / "shop")
    changes = again["changes"]
    assert not (changes["created"] or changes["changed"] or changes["removed"])
    down(server, "store")
