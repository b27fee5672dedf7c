"""How environments and previews look."""

from __future__ import annotations

import pytest

from lapdev.client.rest import Json
from lapdev.client.shown import preview_name, print_previews, print_workloads


def preview(url: str, **more: object) -> Json:
    return {
        "name": "",
        "service": "web",
        "port": 80,
        "routes": [],
        "url": url,
        "status": "",
    } | more


BY_PATH = preview(
    "http://shop.example",
    name="shop",
    routes=[
        {"path": "/api", "exact": False, "service": "api", "port": 8080},
        {"path": "/", "exact": True, "service": "web", "port": 80},
    ],
)


def test_previews_are_a_block_with_their_paths(capsys: pytest.CaptureFixture[str]) -> None:
    print_previews(
        [preview("http://a"), BY_PATH, preview("tcp://b:1", port=5432, status="port 1 is taken")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "  web:80    http://a",
        "  shop      http://shop.example",
        "              /api leads to api:8080",
        "              / exactly leads to web:80",
        "  web:5432  tcp://b:1  (not served: port 1 is taken)",
    ]


def test_one_path_for_everything_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    everything = {"path": "/", "exact": False, "service": "web", "port": 80}
    print_previews([preview("http://a", name="shop", routes=[everything])])
    assert capsys.readouterr().out == "  shop  http://a\n"
    assert preview_name(preview("x", routes=[everything])) == "web:80"


def test_a_preview_is_named_by_what_it_leads_to() -> None:
    assert preview_name(preview("x")) == "web:80"
    assert preview_name(BY_PATH) == "/api to api:8080, / to web:80"


def test_workloads_show_kind_restarts_and_how_they_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet: dict[str, object] = {
        "restarts": 0,
        "detail": "",
        "succeeded": 0,
        "failed": "",
        "last_exit": "",
    }
    quiet["containers"] = []
    print_workloads(
        [
            {"name": "web", "kind": "Deployment", "ready": 1, "wanted": 2, **quiet, "detail": "x"},
            {"name": "move", "kind": "Job", "ready": 1, "wanted": 1, **quiet, "succeeded": 1},
            {
                "name": "bad",
                "kind": "Job",
                "ready": 0,
                "wanted": 1,
                **quiet,
                "restarts": 6,
                "failed": "7 failures",
                "last_exit": "bad: exit code 3",
            },
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "WORKLOAD  KIND        READY  RESTARTS  LAST EXIT         DETAIL",
        "web       Deployment  1/2    0         -                 x",
        "move      Job         done   0         -",
        "bad       Job         0/1    6         bad: exit code 3  failed: 7 failures",
    ]


@pytest.mark.parametrize(
    ("pods", "names"), [(["p1"], ["  db"]), (["p1", "p2"], ["  p1/db", "  p2/db"])]
)
def test_containers_of_a_pod_have_a_line_each(
    capsys: pytest.CaptureFixture[str], pods: list[str], names: list[str]
) -> None:
    inside = [
        {"pod": pod, "name": "db", "state": "ready", "restarts": 2, "last_exit": "exit code 1"}
        for pod in pods
    ]
    shop = {"name": "shop", "kind": "Deployment", "ready": 1, "wanted": 1, "restarts": 2}
    shop |= {"last_exit": "", "detail": "", "failed": "", "succeeded": 0, "containers": inside}
    print_workloads([shop])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == names
    assert all(line.split()[-5:] == ["ready", "2", "exit", "code", "1"] for line in lines)
