"""Any project at all becomes objects that the cluster accepts, or an error that names a remedy."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.cluster.compose import Conversion
from lapdev.cluster.compose.keys import EXTENSION, IGNORED, SERVICE, SILENT, TOP_LEVEL
from lapdev.cluster.manifests import local_command
from lapdev.errors import ConfigError
from tests.cluster.compose.projects import accepted, project

names = st.sampled_from(["web", "db", "a_b", "data", "key", "x", "Web", "web-1", "ü", ""])
words = st.sampled_from(
    (
        *("80", "8080:80", "80/udp", "1-3:4-6", "./a:/a:ro", "data:/data", "/a", "A=1", "A"),
        *("$$(A) $$$$", "${A:-b}", "${A?}", "$", "1m30s", "512m", "0.5", "service_healthy"),
        *("always", "on-failure:3", "CMD", "CMD-SHELL", "NONE", "true", "no", "sh -c 'x", "-x"),
        *("redis", "postgres:15", "bind", "file.env", "compose.yaml", "other.yaml", "Dockerfile"),
        *("host-gateway", "a:127.0.0.1", "\0"),
    )
)
scalars = st.one_of(
    names,
    words,
    st.none(),
    st.booleans(),
    st.integers(-1, 70_000),
    st.floats(),
    st.text(max_size=6),
)
inner_keys = st.sampled_from(
    (
        *("context", "dockerfile", "target", "args", "condition", "required", "test", "interval"),
        *("retries", "disable", "type", "source", "published", "path", "limits", "resources"),
        *("memory", "replicas", "service", "port", "paths", "ingress", "name", "file", "content"),
        *("environment", "external", "driver_opts", "o", "device", "mode", "command", "aliases"),
    )
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(names, inner_keys), inner, max_size=3),
    ),
    max_leaves=6,
)
services = st.dictionaries(
    st.sampled_from(sorted(SERVICE | SILENT | {"user", "x-lapdev", "sysctls"})), trees, max_size=4
).flatmap(
    lambda body: st.sampled_from([body, body | {"command": "serve --now"}, body | {"build": "."}])
)
plain_services = st.fixed_dictionaries(
    {"command": st.just("serve")},
    optional={
        "ports": st.lists(
            st.sampled_from(["80", "8080:80", "5432:5432", "1-3:4-6", 81]), max_size=3
        ),
        "expose": st.lists(st.sampled_from(["90", 91, "92/udp"]), max_size=2),
        "depends_on": st.dictionaries(
            st.sampled_from(["web", "db", "x"]),
            st.fixed_dictionaries(
                {
                    "condition": st.sampled_from(
                        ["service_started", "service_healthy", "service_completed_successfully"]
                    )
                },
                optional={"required": st.booleans()},
            ),
            max_size=2,
        ),
        "restart": st.sampled_from(["no", "always", "on-failure:2", "unless-stopped"]),
        "healthcheck": st.sampled_from([{"test": "ok"}, {"test": ["NONE"]}, {"disable": True}]),
        "volumes": st.lists(
            st.sampled_from(["data:/data", "./a:/a:ro", "/a/node_modules", "/tmp/x", "data:/d/e"]),
            max_size=3,
        ),
        "tmpfs": st.sampled_from(["/run", ["/run", "/tmp:size=1m"]]),
        "secrets": st.just(["key"]),
        "configs": st.just([{"source": "key", "target": "/etc/x", "mode": 0o440}]),
        "environment": st.dictionaries(st.sampled_from(["A", "B"]), scalars, max_size=2),
        "x-lapdev": st.fixed_dictionaries(
            {},
            optional={
                "http": st.sampled_from([80, 99, False]),
                "path": st.sampled_from(["/", "/api", "/api/"]),
                "host": st.sampled_from(["a", "Shop"]),
                "tcp": st.sampled_from([5432, [1, 2]]),
                "one-time": st.booleans(),
            },
        ),
        "deploy": st.just({"resources": {"limits": {"cpus": 0.5, "memory": "64m"}}}),
        "extends": st.sampled_from(
            ["web", {"service": "db"}, {"service": "b", "file": "other.yaml"}]
        ),
        "links": st.just(["db:database"]),
        "extra_hosts": st.just(["a:10.0.0.1", "b=::1"]),
        "stop_grace_period": st.sampled_from(["1s", "100h"]),
        "profiles": st.just(["late"]),
    },
)
plain_projects = st.fixed_dictionaries(
    {
        "services": st.dictionaries(
            st.sampled_from(["web", "db", "x", "a_b"]), plain_services, min_size=1, max_size=4
        ),
        "volumes": st.just({"data": None}),
        "secrets": st.just({"key": {"content": "$${x}"}}),
        "configs": st.just({"key": {"file": "file.bin"}}),
    },
    optional={
        "x-uffizzi": st.just({"ingress": {"service": "web", "port": 80}}),
        "x-lapdev": st.sampled_from(
            [
                {"ingress": {"service": "web"}},
                {"ingress": [{"name": "w", "service": "db", "port": 7}]},
            ]
        ),
        "networks": st.just({"front": None}),
        "include": st.just(["other.yaml"]),
        "name": st.sampled_from(["shop", "My Shop"]),
    },
)
wild_projects = st.dictionaries(
    st.sampled_from(sorted(TOP_LEVEL | {"x-lapdev", "x-uffizzi"})), trees, max_size=3
).flatmap(
    lambda rest: st.dictionaries(names, services, min_size=1, max_size=3).map(
        lambda found: rest | {"services": found}
    )
)
FILES: dict[str, str | bytes] = {
    "Dockerfile": "FROM a\nENV A=1\nEXPOSE 8000\nHEALTHCHECK CMD ok\nCMD serve",
    "file.env": "A=1\nB='$x'\n",
    "file.bin": b"\xff\x00",
    "other.yaml": "services: {b: {command: b, expose: [8]}}\n",
}


def converted(*texts: str) -> Conversion | None:
    try:
        return project(*texts, files=FILES, environ={"B": "$(A)"}, profiles=["late"])
    except ConfigError as exc:
        assert exc.detail
        assert exc.hint
        return None


def has_meaning(found: Conversion | None) -> None:
    if found is None:
        return
    manifests = accepted(found)
    (workload,) = manifests.workloads
    for container in workload.pod.all_containers():
        assert local_command(workload, container, {})
    for host in manifests.ingresses:
        for route in host.routes:
            ports = {s.name: {p.port for p in s.ports} for s in manifests.services}
            assert route.port in ports[route.service]


@settings(deadline=None)  # the machine's load says nothing about the room
@given(plain_projects)
def test_sensible_projects_are_accepted_by_the_cluster_or_refused(found: dict[str, Any]) -> None:
    has_meaning(converted(json.dumps(found)))


@settings(deadline=None)  # the machine's load says nothing about the room
@given(plain_projects, plain_projects)
def test_so_are_two_files_of_one_project(one: dict[str, Any], two: dict[str, Any]) -> None:
    has_meaning(converted(json.dumps(one), json.dumps(two)))


@settings(deadline=None)  # the machine's load says nothing about the room
@given(wild_projects)
def test_wild_projects_are_accepted_by_the_cluster_or_refused(found: dict[str, Any]) -> None:
    has_meaning(converted(yaml.safe_dump(found, allow_unicode=True)))


@settings(deadline=None)  # the machine's load says nothing about the room
@given(st.text(alphabet="services:wb&*<!{}[],\n -'\"$01#|>x", max_size=80))
def test_any_text_is_a_project_or_refused(text: str) -> None:
    has_meaning(converted(text))


def test_every_key_is_in_one_list() -> None:
    assert not SERVICE & SILENT
    assert not SERVICE & IGNORED
    assert not SILENT & IGNORED
    assert set(EXTENSION) == {"command", "one-time", "http", "tcp", "path", "host"}
