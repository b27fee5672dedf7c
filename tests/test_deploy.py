"""The files that ship the product agree with it: flags, settings, paths."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lapdev.settings import CloudSettings, load, settings_of
from tests.support.needs import PROJECT

DEPLOY = PROJECT / "deploy"


def cloud_service() -> dict[str, Any]:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service: dict[str, Any] = document["services"]["cloud"]
    return service


def test_the_compose_files_environment_is_settings_of_the_cloud() -> None:
    environment = dict(cloud_service()["environment"])
    known = {item.variable for item in settings_of(CloudSettings)}
    assert set(environment) <= known
    environment["LAPDEV_DOMAIN"] = "lapdev.example"
    settings = load(CloudSettings, {}, environment)
    assert settings.listen == "0.0.0.0:8080"
    # Secrets are files, never values.
    assert settings.cluster_token_file.startswith("/run/secrets/")


def test_the_compose_file_publishes_on_loopback_and_drops_privileges() -> None:
    service = cloud_service()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_the_image_runs_without_root_and_with_the_malloc_thresholds() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = text.split("FROM ")
    user = re.search(r"^USER (\S+)$", stages[-1], re.MULTILINE)
    assert user is not None
    assert user[1] == "10001:10001"
    assert "MALLOC_MMAP_THRESHOLD_=2097152" in stages[-1]
    assert "MALLOC_TRIM_THRESHOLD_=4194304" in stages[-1]


def test_what_the_image_copies_exists() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        *sources, _target = line.split()
        for source in sources:
            assert (PROJECT / source).exists() or source == "README.md", source


def test_the_license_is_the_one_the_package_names() -> None:
    assert 'license = { text = "Apache-2.0" }' in (PROJECT / "pyproject.toml").read_text()
    assert "Apache License" in (PROJECT / "LICENSE").read_text()
