"""Well-known images."""

from __future__ import annotations

import shlex

import pytest

from lapdev.cluster.manifests.images import known_command


@pytest.mark.parametrize(
    ("image", "args", "wanted"),
    [
        ("redis", (), "redis-server --protected-mode no"),
        ("docker.io/bitnami/redis:7.2@sha256:0", (), "redis-server --protected-mode no"),
        ("gcr.io/google_samples/gb-redis-follower:v2", (), "redis-server --protected-mode no"),
        ("localhost:5000/valkey", (), "valkey-server --protected-mode no"),
        ("redis", ("--save", ""), "redis-server --save '' --protected-mode no"),
        ("redis", ("redis-server", "--save", ""), "redis-server --save '' --protected-mode no"),
        ("python:3.12", (), "python3 app.py"),
        ("python:3.12", ("python", "-m", "http.server"), "python -m http.server"),
        ("nginx:1", (), "nginx -g 'daemon off;'"),
        ("example/api:redis", (), ""),
        ("", (), ""),
    ],
)
def test_a_known_image_has_a_line(image: str, args: tuple[str, ...], wanted: str) -> None:
    assert known_command(image, args) == wanted


@pytest.mark.parametrize("image", ["postgres:16", "mysql:8", "mariadb", "mongo", "memcached"])
def test_every_line_is_one_of_a_shell(image: str) -> None:
    words = shlex.split(known_command(image, ("-x",)))
    assert words[0] != "sh" or (words[1] == "-c" and len(words) == 3)
