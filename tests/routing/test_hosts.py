"""Which host shows which preview; robustness rows 31 and 32."""

from __future__ import annotations

import pytest

from lapdev.model import (
    ClusterId,
    Environment,
    EnvironmentId,
    EnvironmentKind,
    PreviewUrl,
)
from lapdev.routing.hosts import PreviewIndex, split_host

DOMAIN = "lapdev.localhost"
LABEL = "8080-web-k3v9x0a1b2c3"


def environment(name: str, kind: EnvironmentKind, base: str | None = None) -> Environment:
    return Environment(
        EnvironmentId(name),
        name,
        kind,
        ClusterId("c"),
        "ns",
        EnvironmentId(base) if base else None,
        1,
    )


SHARED = environment("shared", EnvironmentKind.SHARED)
BRANCH = environment("branch", EnvironmentKind.BRANCH, "shared")
INDEX = PreviewIndex.build(
    [
        PreviewUrl(LABEL, SHARED.id, "web", 8080),
        PreviewUrl("8080-web-branch000000", BRANCH.id, "web", 8080),
        PreviewUrl("8080-web-orphan000000", EnvironmentId("gone"), "web", 8080),
    ],
    [SHARED, BRANCH],
)


@pytest.mark.parametrize(
    "host",
    [
        f"{LABEL}.{DOMAIN}",
        f"{LABEL}.{DOMAIN}.",
        f"{LABEL}.{DOMAIN}:443",
        f"{LABEL}.{DOMAIN}.:65535",
        f"{LABEL.upper()}.LapDev.LOCALHOST.:80",
    ],
)
def test_case_trailing_dot_and_port_make_no_difference(host: str) -> None:
    entry = INDEX.lookup(host.encode(), DOMAIN)
    assert entry is not None
    assert entry.preview.label == LABEL
    assert entry.environment is SHARED


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b".",
        b"lapdev.localhost",
        LABEL.encode(),
        f"{LABEL}.example.com".encode(),
        f"x.{LABEL}.{DOMAIN}".encode(),
        f"{LABEL}..{DOMAIN}".encode(),
        f"{LABEL}.{DOMAIN}..".encode(),
        f"u@{LABEL}.{DOMAIN}".encode(),
        f"{LABEL}.{DOMAIN}/x".encode(),
        f"{LABEL}.{DOMAIN}, b".encode(),
        f"{LABEL}.{DOMAIN}:1:2".encode(),
        f"{LABEL}.{DOMAIN}:".encode(),
        f"{LABEL}.{DOMAIN}:123456".encode(),
        f"{LABEL}.{DOMAIN}\n".encode(),
        b"[::1]:80",
        b"8080-web-unknown00000.lapdev.localhost",
        b"8080-web-orphan000000.lapdev.localhost",
        b"-a.lapdev.localhost",
        b"a" * 64 + b".lapdev.localhost",
        b"\xc3\xa9.lapdev.localhost",
        b".".join([b"a" * 60] * 6) + b".lapdev.localhost",
    ],
)
def test_anything_but_a_known_label_under_the_domain_is_no_preview(host: bytes) -> None:
    assert INDEX.lookup(host, DOMAIN) is None


def test_a_branch_preview_names_the_id_to_stamp_and_a_shared_one_none() -> None:
    shared = INDEX.lookup(f"{LABEL}.{DOMAIN}".encode(), DOMAIN)
    branch = INDEX.lookup(f"8080-web-branch000000.{DOMAIN}".encode(), DOMAIN)
    assert shared is not None and shared.branch is None
    assert branch is not None and branch.branch == BRANCH.id


def test_a_host_of_one_label_has_no_rest() -> None:
    assert split_host(b"Localhost:80") == ("localhost", "")


def test_an_index_without_an_environment_keeps_the_others() -> None:
    rest = INDEX.without(SHARED.id)
    assert rest.lookup(f"{LABEL}.{DOMAIN}".encode(), DOMAIN) is None
    assert rest.lookup(f"8080-web-branch000000.{DOMAIN}".encode(), DOMAIN) is not None
